import { type Logger, messageOf } from '../common/index.ts'
import type { HostClient } from './host/host-client.ts'
import { type FunctionName, hostOutputSource, type Output } from './output/index.ts'

export interface FollowedInstancesOptions {
  host: HostClient
  output: Output
  logger: Logger
}

/** Every instance that this server has heard of, until its output is copied and its traces are gone. */
export class FollowedInstances {
  readonly #options: FollowedInstancesOptions
  readonly #owners = new Map<string, FunctionName>()
  /** Ended instances whose output or traces could not be dealt with. */
  readonly #unfinished = new Set<string>()
  readonly #finishing = new Set<string>()

  constructor(options: FollowedInstancesOptions) {
    this.#options = options
  }

  get ids(): string[] {
    return [...this.#owners.keys()]
  }

  ownerOf(id: string): FunctionName | undefined {
    return this.#owners.get(id)
  }

  /** Its output is collected from now on. */
  follow(id: string, owner: FunctionName): void {
    if (this.#owners.has(id)) return
    const name = { namespace: owner.namespace, function: owner.function }
    this.#owners.set(id, name)
    const { output, host, logger } = this.#options
    output.attach(id, name, hostOutputSource(host, id)).catch((thrown: unknown) => {
      logger.error({ instance: id, err: messageOf(thrown) }, 'output is not copied')
    })
  }

  /** It has ended: all output copied, then nothing of it is needed any more. */
  async finish(id: string): Promise<void> {
    const owner = this.#owners.get(id)
    if (owner === undefined || this.#finishing.has(id)) return
    const { output, host, logger } = this.#options
    this.#unfinished.delete(id)
    this.#finishing.add(id)
    try {
      await output.finish(id)
      await host.call('remove', { id })
      await output.forget(id, owner)
      this.#owners.delete(id)
    } catch (thrown) {
      this.#unfinished.add(id)
      logger.warn({ instance: id, err: messageOf(thrown) }, 'output of an ended instance is not complete')
    } finally {
      this.#finishing.delete(id)
    }
  }

  /** Tries again what failed. */
  finishAgain(): void {
    for (const id of this.#unfinished) void this.finish(id)
  }
}
