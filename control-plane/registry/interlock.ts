/** Work of two kinds that exclude each other: any number of one kind at a time, or one of the other. */
export class Interlock {
  readonly #sharing = new Set<Promise<unknown>>()
  #exclusive: Promise<unknown> | undefined

  /** Begins when nobody works exclusively. */
  async shared<T>(work: () => Promise<T>): Promise<T> {
    while (this.#exclusive !== undefined) await this.#exclusive
    return this.#track(this.#sharing, work())
  }

  /** Begins when all that is shared now is over; what comes later waits. */
  async exclusive<T>(work: () => Promise<T>): Promise<T> {
    while (this.#exclusive !== undefined) await this.#exclusive
    const done = Promise.allSettled(this.#sharing).then(work)
    this.#exclusive = done.catch(() => undefined)
    try {
      return await done
    } finally {
      this.#exclusive = undefined
    }
  }

  async #track<T>(among: Set<Promise<unknown>>, work: Promise<T>): Promise<T> {
    among.add(work)
    try {
      return await work
    } finally {
      among.delete(work)
    }
  }
}
