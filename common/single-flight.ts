/**
 * Shares work by key: callers that ask for the same key while it is being made wait for the one that makes it.
 * The shared work is aborted only when every waiter has given up.
 */
export class SingleFlight<T> {
  readonly #flights = new Map<string, Flight<T>>()

  run(key: string, work: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted()
    const flight = this.#flights.get(key) ?? this.#start(key, work)
    flight.waiters += 1
    return leaveOnAbort(flight, signal)
  }

  #start(key: string, work: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const controller = new AbortController()
    const promise = work(controller.signal).finally(() => this.#flights.delete(key))
    promise.catch(() => undefined) // each waiter gets the rejection; nobody waiting is no crash
    const flight = { promise, controller, waiters: 0 }
    this.#flights.set(key, flight)
    return flight
  }
}

interface Flight<T> {
  promise: Promise<T>
  controller: AbortController
  waiters: number
}

async function leaveOnAbort<T>(flight: Flight<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return flight.promise
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const onAbort = (): void => {
    flight.waiters -= 1
    if (flight.waiters === 0) flight.controller.abort(signal.reason)
    reject(signal.reason)
  }
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([flight.promise, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
