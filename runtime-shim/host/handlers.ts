import { AppError } from '../../common/index.ts'
import type { Credential, Digest } from '../../oci/index.ts'
import type { Engine } from '../engines/engine.ts'
import type { DownloadTable } from './download-table.ts'
import type { Handlers } from './host-server.ts'
import type { InstanceTable } from './instance-table.ts'
import { type Args, PORT_VERSION, type Result, type ServerConfig } from './port.ts'
import type { LocalRegistryProcess } from './registry-process.ts'

export interface HandlerOptions {
  table: InstanceTable
  downloads: DownloadTable
  engine: Engine
  serverConfig: () => ServerConfig
  processes: () => Result<'processes'>['processes']
  onReady: (registryCaPem: string) => void
  /** From the platform's docker configuration. */
  findCredential: (args: Args<'findCredential'>) => Promise<Credential | undefined>
  registry: Pick<LocalRegistryProcess, 'setMode' | 'collect' | 'listFiles'>
}

/** The supervisor's answer to each operation of the port. */
export function makeHandlers(options: HandlerOptions): Handlers {
  const { table, downloads, engine, registry } = options
  return {
    hello: ({ version }) => {
      if (version !== PORT_VERSION) {
        throw new AppError(`server speaks version ${version} of the port, the supervisor ${PORT_VERSION}`, {
          code: 'port-version',
          hint: 'start both from the same checkout',
        })
      }
      return { version: PORT_VERSION, supervisorPid: process.pid, engine: engine.name, server: options.serverConfig() }
    },
    ping: () => ({}),
    ready: ({ registryCaPem }) => {
      options.onReady(registryCaPem)
      return {}
    },
    prepare: async ({ timeoutMs, digest, download, ...rest }) => {
      const late = AbortSignal.timeout(timeoutMs + 1_000)
      const request = { ...rest, digest: digest as Digest, deadlineMs: Date.now() + timeoutMs }
      const fetch = (signal: AbortSignal) => table.prepare(request, signal)
      const image = await (download === undefined ? fetch(late) : downloads.run(download, fetch, late))
      const { config } = image
      return {
        digest: image.digest,
        sizeBytes: image.sizeBytes,
        pulled: image.pulled,
        pullMs: image.pullMs,
        unpackMs: image.unpackMs,
        architecture: config.architecture,
        os: config.os,
        user: config.config?.User ?? '',
        entrypoint: config.config?.Entrypoint ?? [],
        cmd: config.config?.Cmd ?? [],
      }
    },
    downloads: () => ({ downloads: downloads.names() }),
    cancelDownload: ({ download, reason }) => {
      downloads.cancel(download, reason)
      return {}
    },
    create: (args) => table.create(args),
    start: async (args, pass) => {
      const { fd, startMs, listenMs } = await table.start(args)
      return { startMs, listenMs, descriptor: await pass(fd) }
    },
    run: async ({ id }) => ({ startMs: await table.run(id) }),
    dial: async ({ id, port }, pass) => {
      const { outcome, fd } = await table.dial(id, port)
      return { outcome, descriptor: fd === null ? null : await pass(fd) }
    },
    freeze: async ({ id }) => {
      await table.freeze(id)
      return {}
    },
    thaw: async ({ id }) => {
      await table.thaw(id)
      return {}
    },
    stop: async ({ id, graceMs, reason }) => {
      await table.stop(id, graceMs, reason)
      return {}
    },
    stats: ({ id }) => table.stats(id),
    output: async ({ id, rotated }, pass) => {
      const file = table.output(id, rotated)
      return { rotated: file.rotated, descriptor: file.fd === null ? null : await pass(file.fd) }
    },
    rotate: async ({ id }) => ({ rotated: await table.rotate(id) }),
    forgetOutput: ({ id, rotated }) => {
      table.forgetOutput(id, rotated)
      return {}
    },
    remove: async ({ id }) => {
      await table.remove(id)
      return {}
    },
    registry: async ({ mode }) => {
      await (mode === 'collect' ? registry.collect() : registry.setMode(mode))
      return {}
    },
    registryFiles: async (_args, pass) => ({ descriptor: await pass(await registry.listFiles()) }),
    findCredential: async (args) => ({ credential: (await options.findCredential(args)) ?? null }),
    processes: () => ({ processes: options.processes(), capabilities: { ...engine.capabilities } }),
    list: () => ({ instances: table.list() }),
  }
}
