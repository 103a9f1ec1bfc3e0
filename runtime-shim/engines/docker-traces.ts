import { retry } from '../../common/index.ts'
import { type DockerApi, statusOf } from './docker-api.ts'
import { LABEL_DATA } from './docker-container.ts'

/**
 * A bridge for one instance: no other container is on it, and packets that leave the machine carry an address that nobody answers.
 * What the machine itself listens on at all addresses remains reachable from it, which `doctor` says.
 */
export async function ensureNetwork(api: DockerApi, name: string, dataHash: string): Promise<void> {
  await api.call(`creating network ${name}`, (abortSignal) =>
    api.docker.createNetwork({
      Name: name,
      Driver: 'bridge',
      Labels: { [LABEL_DATA]: dataHash },
      Options: {
        'com.docker.network.bridge.enable_ip_masquerade': 'false',
        'com.docker.network.bridge.enable_icc': 'false',
      },
      CheckDuplicate: true,
      abortSignal,
    }),
  )
}

/** Removes a network by name. Idempotent. */
export async function removeNetwork(api: DockerApi, name: string): Promise<void> {
  await api.find(`removing network ${name}`, (abortSignal) => api.docker.getNetwork(name).remove({ abortSignal }))
}

/** Kills and removes a container with its anonymous volumes, and returns when it is gone. Idempotent. */
export async function removeContainer(api: DockerApi, name: string): Promise<void> {
  const container = api.container(name)
  const remove = async (): Promise<void> => {
    await api.find(`removing ${name}`, (abortSignal) =>
      container.remove({ force: true, v: true, abortSignal } as object),
    )
  }
  // 409: a removal that an earlier process began is under way; 500: the Engine could not end it in its own time.
  const underWay = (thrown: unknown): boolean => [409, 500].includes(statusOf(thrown) ?? 0)
  await retry(remove, { attempts: 10, baseMs: 100, maxMs: 2_000, retryable: underWay })
}
