/** Works on all items, at most `width` at once, in their order. The first failure ends the others and is thrown when they have ended. */
export async function limitedParallel<T>(
  items: readonly T[],
  width: number,
  signal: AbortSignal,
  work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const controller = new AbortController()
  const joined = AbortSignal.any([signal, controller.signal])
  const waiting = [...items]
  let failure: { thrown: unknown } | undefined
  const lane = async (): Promise<void> => {
    for (let item = waiting.shift(); item !== undefined && !joined.aborted; item = waiting.shift()) {
      try {
        await work(item, joined)
      } catch (thrown) {
        failure ??= { thrown }
        controller.abort(thrown)
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, lane))
  signal.throwIfAborted()
  if (failure !== undefined) throw failure.thrown
}
