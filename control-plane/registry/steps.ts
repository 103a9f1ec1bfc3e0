/** A few things that are told one after another to whoever iterates, from the first on; kept until the end. */
export class Steps<T> implements AsyncIterable<T> {
  readonly #told: T[] = []
  #ended = false
  #news = Promise.withResolvers<void>()

  add(step: T): void {
    this.#told.push(step)
    this.#wake()
  }

  end(): void {
    this.#ended = true
    this.#wake()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    for (let at = 0; ; ) {
      const step = this.#told[at]
      if (step !== undefined) {
        at += 1
        yield step
      } else if (this.#ended) return
      else await this.#news.promise
    }
  }

  #wake(): void {
    this.#news.resolve()
    this.#news = Promise.withResolvers()
  }
}
