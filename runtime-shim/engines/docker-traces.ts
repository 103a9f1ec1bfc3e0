import { retry } from '../../common/index.ts'
import { type DockerApi, statusOf } from './docker-api.ts'
import { containerName, LABEL_DATA, LABEL_INSTANCE } from './docker-container.ts'

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

/** Removes the volumes that stood for an image's VOLUMEs. Idempotent. */
export async function removeVolumes(api: DockerApi, dataHash: string, id: string): Promise<void> {
  const prefix = `${containerName(dataHash, id)}-`
  const filters = { label: [`${LABEL_DATA}=${dataHash}`, `${LABEL_INSTANCE}=${id}`] }
  const { Volumes } = await api.call(`listing volumes of ${id}`, (abortSignal) =>
    api.docker.listVolumes({ filters, abortSignal }),
  )
  for (const { Name } of Volumes ?? []) {
    if (!Name.startsWith(prefix)) continue
    await api.find(`removing volume ${Name}`, (abortSignal) => api.docker.getVolume(Name).remove({ abortSignal }))
  }
}

/** Names of everything of a platform that the Engine has: containers, networks, volumes. */
export async function namesOf(api: DockerApi, dataHash: string): Promise<string[]> {
  const filters = { label: [`${LABEL_DATA}=${dataHash}`] }
  const list = <T>(
    what: string,
    work: (options: { filters: typeof filters; abortSignal: AbortSignal }) => Promise<T>,
  ): Promise<T> => api.call(`listing ${what}`, (abortSignal) => work({ filters, abortSignal }))
  const containers = await list('instances', (options) => api.docker.listContainers({ all: true, ...options }))
  const networks = await list('networks', (options) => api.docker.listNetworks(options))
  const { Volumes } = await list('volumes', (options) => api.docker.listVolumes(options))
  return [
    ...containers.flatMap(({ Names }) => Names.map((name) => name.slice(1))),
    ...networks.map(({ Name }) => Name),
    ...(Volumes ?? []).map(({ Name }) => Name),
  ]
}
