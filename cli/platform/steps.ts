/** Lines of progress on stderr: what is done, and after how long. A step over a second says that it still works. */
export class Steps {
  readonly #write: (text: string) => void

  constructor(write: (text: string) => void = (text) => process.stderr.write(text)) {
    this.#write = write
  }

  /** Runs one step; its line says the time, and `detail` of its result where there is one. */
  async run<T>(
    name: string,
    work: (say: (detail: string) => void) => Promise<T>,
    detail?: (value: T) => string,
  ): Promise<T> {
    const began = Date.now()
    const still = setInterval(() => this.#write(`  … ${name} (${seconds(began)})\n`), 3_000)
    const first = setTimeout(() => this.#write(`  … ${name}\n`), 800)
    try {
      const value = await work((text) => this.#write(`    ${text}\n`))
      const more = detail?.(value)
      this.#write(`✓ ${name} (${seconds(began)})${more === undefined ? '' : `  ${more}`}\n`)
      return value
    } catch (thrown) {
      this.#write(`✗ ${name} (${seconds(began)})\n`)
      throw thrown
    } finally {
      clearInterval(still)
      clearTimeout(first)
    }
  }

  line(text: string): void {
    this.#write(`${text}\n`)
  }
}

function seconds(beganMs: number): string {
  return `${((Date.now() - beganMs) / 1_000).toFixed(2)} s`
}
