import { AppError } from '../../common/index.ts'
import { type Digest } from '../../oci/index.ts'
import type { Engine } from '../engines/engine.ts'
import type { Handlers } from './host-server.ts'
import type { InstanceTable } from './instance-table.ts'
import { PORT_VERSION, type Result, type ServerConfig } from './port.ts'

export interface HandlerOptions {
  table: InstanceTable
  engine: Engine
  serverConfig: () => ServerConfig
  processes: () => Result<'processes'>['processes']
  onReady: (registryCaPem: string) => void
}

/** The supervisor's answer to each operation of the port. */
export function makeHandlers(options: HandlerOptions): Handlers {
  const { table, engine } = options
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
    prepare: async ({ timeoutMs, digest, ...rest }) => {
      const signal = AbortSignal.timeout(timeoutMs + 1_000)
      const deadlineMs = Date.now() + timeoutMs
      const image = await table.prepare({ ...rest, digest: digest as Digest, deadlineMs }, signal)
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
    create: (args) => table.create(args),
    start: async (args, pass) => {
      const { fd, startMs, listenMs } = await table.start(args)
      return { startMs, listenMs, descriptor: await pass(fd) }
    },
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
    processes: () => ({ processes: options.processes(), capabilities: { ...engine.capabilities } }),
    list: () => ({ instances: table.list() }),
  }
}
