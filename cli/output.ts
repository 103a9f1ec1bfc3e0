import { toAppError } from '../common/index.ts'

export interface Sink {
  write(text: string): unknown
}

export type Format = 'text' | 'json'

/** Where a command's words go: results to stdout, everything else to stderr. */
export class Output {
  readonly format: Format
  readonly #stdout: Sink
  readonly #stderr: Sink

  constructor(format: Format, stdout: Sink, stderr: Sink) {
    this.format = format
    this.#stdout = stdout
    this.#stderr = stderr
  }

  /** The result of the command: as one line of JSON, or as the text for people. */
  result(value: unknown, text: string): void {
    this.#stdout.write(this.format === 'json' ? `${JSON.stringify(value)}\n` : text === '' ? '' : `${text}\n`)
  }

  /** One of many results, as it comes: a line of JSON, or the text. */
  line(value: unknown, text: string): void {
    this.result(value, text)
  }

  /** What is going on, for who waits. */
  progress(text: string): void {
    this.#stderr.write(`${text}\n`)
  }

  /** What to do next, after success. Not for scripts. */
  next(text: string): void {
    if (this.format === 'text') this.#stderr.write(`next: ${text}\n`)
  }

  /** What failed, why, and what to do. */
  error(thrown: unknown): void {
    const { code, message, hint, details } = toAppError(thrown)
    if (this.format === 'json') {
      this.#stderr.write(
        `${JSON.stringify({ error: { code, message, ...(hint === undefined ? {} : { hint }), details } })}\n`,
      )
      return
    }
    const requestId = typeof details['requestId'] === 'string' ? `\n  request ${details['requestId']}` : ''
    this.#stderr.write(`slipway: ${message} [${code}]${hint === undefined ? '' : `\n  ${hint}`}${requestId}\n`)
  }
}

/** Columns as wide as their widest cell; the last one is left ragged. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [header, ...rows]
  const widths = header.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)))
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MB`
}

/** `350 ms`, `4.2 s`, `3 min`, `5 h`, `2 d`. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min`
  return ms < 86_400_000 ? `${Math.round(ms / 3_600_000)} h` : `${Math.round(ms / 86_400_000)} d`
}
