import type { Args, EventData, EventName, Operation, Result } from './port.ts'

/** The server's view of the supervisor. Calls made while the supervisor is being replaced wait for the next one until their signal aborts. */
export interface HostClient {
  call<O extends Operation>(op: O, args: Args<O>, signal?: AbortSignal): Promise<Result<O>>
  /** The descriptor that an answer named by its tag. Throws `descriptor-lost` when it did not arrive. */
  takeDescriptor(tag: number): number
  on<E extends EventName>(event: E, listener: (data: EventData<E>) => void): void
  /** Called each time a new supervisor has taken over: adopt by `list`. */
  onReconnect(listener: () => void): void
  close(): void
}
