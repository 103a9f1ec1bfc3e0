import { readlinkSync } from 'node:fs'
import { listenerCredentials, messageOf, toAppError } from '../../common/index.ts'
import { connectDocker, type DockerApi } from './docker-api.ts'

/** What can be said about a Docker Engine before it is used. */
export interface DockerFacts {
  version: string
  /** As in image configurations, `amd64`. */
  architecture: string
  /** On this machine, in our own mount and process namespaces, and we are root: its containers can be entered. */
  local: boolean
  rootless: boolean
  storageDriver: string
  cgroupVersion: 1 | 2
  logDrivers: string[]
  cpus: number
}

export type DockerDetection =
  | (DockerFacts & { reachable: true; problem?: string; hint?: string })
  | { reachable: false; problem: string; hint: string }

/** Asks an Engine what it is. Throws `engine-unreachable`. */
export async function dockerFacts(api: DockerApi): Promise<DockerFacts> {
  const [version, info] = await Promise.all([
    api.call('asking the Docker Engine for its version', () => api.docker.version()),
    api.call('asking the Docker Engine about itself', () => api.docker.info()) as Promise<Info>,
  ])
  const rootless = (info.SecurityOptions ?? []).some((option) => option.startsWith('name=rootless'))
  return {
    version: version.Version,
    architecture: version.Arch,
    local: info.OSType === 'linux' && !rootless && sharesOurNamespaces(api.socketPath),
    rootless,
    storageDriver: info.Driver,
    cgroupVersion: info.CgroupVersion === '2' ? 2 : 1,
    logDrivers: info.Plugins.Log ?? [],
    cpus: info.NCPU,
  }
}

interface Info {
  OSType: string
  Driver: string
  CgroupVersion?: string
  SecurityOptions?: string[]
  NCPU: number
  Plugins: { Log?: string[] }
}

/** Whether the process behind the socket (under socket activation: the init system) sees the files and processes that we see. */
function sharesOurNamespaces(socketPath: string): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false
  try {
    const { pid } = listenerCredentials(socketPath)
    const same = (kind: string): boolean =>
      readlinkSync(`/proc/${pid}/ns/${kind}`) === readlinkSync(`/proc/self/ns/${kind}`)
    return pid > 0 && same('mnt') && same('pid')
  } catch {
    return false // in another process namespace its pid is 0, or means somebody else
  }
}

/** For `slipway doctor`: what there is at `socketPath`, and what will not work with it. Never throws. */
export async function detectDocker(socketPath: string): Promise<DockerDetection> {
  let api: DockerApi | undefined
  try {
    api = await connectDocker(socketPath)
    const facts = await dockerFacts(api)
    return { reachable: true, ...facts, ...limitation(facts) }
  } catch (thrown) {
    const { hint = 'start the Docker Engine' } = toAppError(thrown)
    return { reachable: false, problem: messageOf(thrown), hint }
  } finally {
    api?.close()
  }
}

function limitation(facts: DockerFacts): { problem: string; hint: string } | object {
  if (!facts.local) {
    return {
      problem:
        "instances cannot be entered: each gets a network and a published port on 127.0.0.1, /tmp counts as memory, and what this machine's firewall lets a bridge reach is reachable",
      hint: 'run the platform as root on the machine of the Docker Engine, or use the runc engine',
    }
  }
  if (!facts.logDrivers.includes('local')) {
    return {
      problem: 'the Engine has no log driver "local": bytes of output that are not UTF-8 are replaced',
      hint: 'use Docker Engine 18.09 or later',
    }
  }
  return {}
}
