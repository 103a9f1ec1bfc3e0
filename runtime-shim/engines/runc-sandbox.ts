import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { unmount } from '../../common/index.ts'
import { endMonitorProcesses, type InstanceNames, Monitor, monitorsCgroup } from '../../sandbox/index.ts'
import type { RuncTools } from './runc-tools.ts'

/** Time for conmon to write the exit file down and end, once its container is dead. */
const MONITOR_GRACE_MS = 2_000

/**
 * Makes what does not depend on the image: directories, network namespace, control group, `/tmp` volume, a monitor that waits. The claim comes first: with the
 * instance's directory it is all that clean-up needs. Throws an EEXIST error for an id that is claimed already.
 */
export async function makeSandbox(tools: RuncTools, names: InstanceNames, tmpBytes: number): Promise<Monitor> {
  writeFileSync(names.claim, String(process.pid), { flag: 'wx', mode: 0o600 })
  for (const directory of [names.bundle, names.state, names.exitDirectory, names.root]) {
    mkdirSync(directory, { mode: 0o700 })
  }
  const monitor = startMonitor(tools, names)
  try {
    tools.networks.make(names.netns)
    tools.cgroups.create(names.cgroup)
    await tools.volumes.make(names.tmpImage, names.tmp, tmpBytes)
    return monitor
  } catch (thrown) {
    monitor.discard()
    throw thrown
  }
}

export function startMonitor({ runtime, cgroups, hash }: RuncTools, names: InstanceNames): Monitor {
  return new Monitor({ names, runtime, cgroups, cgroup: monitorsCgroup(hash) })
}

/** Gives a sandbox a `/tmp` volume of another size. */
export async function replaceVolume(tools: RuncTools, names: InstanceNames, tmpBytes: number): Promise<void> {
  tools.volumes.remove(names.tmpImage, names.tmp)
  await tools.volumes.make(names.tmpImage, names.tmp, tmpBytes)
}

/**
 * Removes every trace of an instance or sandbox but its directory and its output, whatever state it was left in. Idempotent.
 * The order matters: first those who could make something new (a runtime in the middle of a creation), then processes, then what they held.
 */
export async function removeTraces(tools: RuncTools, names: InstanceNames): Promise<void> {
  const { cgroups, networks, volumes, content } = tools
  await cgroups.killAll(names.cgroup)
  // Without a pid file the creation never finished, and a monitor whose maker was killed would go on with it.
  await endMonitorProcesses(names, existsSync(names.pidFile) ? MONITOR_GRACE_MS : 0)
  await cgroups.killAll(names.cgroup) // the last thing that an ended runtime did
  networks.remove(names.netns)
  while (unmount(names.root)) continue
  volumes.remove(names.tmpImage, names.tmp)
  await cgroups.remove(names.cgroup)
  content.releaseOwner(names.id)
  for (const path of [
    names.root,
    names.bundle,
    names.state,
    names.exitDirectory,
    names.pidFile,
    names.monitorPidFile,
    names.hosts,
    names.resolvConf,
    names.hostnameFile,
  ]) {
    rmSync(path, { recursive: true, force: true })
  }
  rmSync(names.claim, { force: true })
}
