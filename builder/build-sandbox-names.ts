import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { AppError, isAlive, type ProcessIdentity, unmount } from '../common/index.ts'
import { type InstanceNames, instanceNames, isInstanceId, platformCgroup } from '../sandbox/index.ts'
import type { SandboxMachine } from './build-sandbox.ts'

/** Who made a sandbox: pid and start time of the building process. */
export const OWNER_FILE = 'owner.json'

/** All names of a build's sandbox. Its control group is no child of the platform's: the supervisor sweeps those it does not know. */
export function sandboxNames(machine: Pick<SandboxMachine, 'directory' | 'hash'>, id: string): InstanceNames {
  const names = instanceNames(machine.hash, id, join(machine.directory, id))
  return { ...names, cgroup: `${platformCgroup(machine.hash)}-build-${id}` }
}

/** Removes every trace that a sandbox may have left, whatever became of its process. Idempotent. */
export async function removeSandbox(machine: SandboxMachine, names: InstanceNames): Promise<void> {
  await machine.cgroups.killAll(names.cgroup)
  await machine.cgroups.remove(names.cgroup)
  machine.namespaces.remove(names.netns)
  while (unmount(names.root)) continue
  machine.volumes.remove(names.tmpImage, names.tmp)
  const work = join(names.directory, 'work')
  machine.volumes.remove(`${work}.img`, work)
  if (readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${names.directory}/`)) {
    throw new AppError(`something is still mounted below ${names.directory}`, { code: 'build-failed', retryable: true })
  }
  rmSync(names.directory, { recursive: true, force: true })
}

/** Removes the sandboxes of builds that were killed. */
export async function sweepSandboxes(machine: SandboxMachine): Promise<void> {
  mkdirSync(machine.directory, { recursive: true, mode: 0o700 })
  for (const id of readdirSync(machine.directory).filter(isInstanceId)) {
    const names = sandboxNames(machine, id)
    const owner = readOwner(join(names.directory, OWNER_FILE))
    if (owner === undefined || !isAlive(owner)) await removeSandbox(machine, names)
  }
}

function readOwner(file: string): ProcessIdentity | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as ProcessIdentity
  } catch {
    return undefined
  }
}
