import type { HostClient } from '../host/host-client.ts'

/** The output files of one instance, as the collector needs them. */
export interface OutputSource {
  /**
   * Opens file number `rotated` for reading; 0 means the one that is being written. Undefined when there is none (any more).
   * Numbers start at 1 and grow by one with each rotation; a rotated file keeps its number.
   */
  open(rotated: number): Promise<OpenOutput | undefined>
  /** Begins a new file; answers the number of the one that was being written. */
  rotate(): Promise<number>
  /** Rotated files up to this number are copied. */
  forget(upTo: number): Promise<void>
}

export interface OpenOutput {
  /** Open for reading, owned by the caller. */
  fd: number
  rotated: number
}

/** The output of an instance as the supervisor gives it. */
export function hostOutputSource(host: HostClient, id: string): OutputSource {
  return {
    open: async (rotated) => {
      const answer = await host.call('output', { id, rotated })
      if (answer.descriptor === null) return undefined
      return { fd: host.takeDescriptor(answer.descriptor), rotated: answer.rotated }
    },
    rotate: async () => (await host.call('rotate', { id })).rotated,
    forget: async (upTo) => {
      await host.call('forgetOutput', { id, rotated: upTo })
    },
  }
}
