/** One challenge of a `WWW-Authenticate` header (RFC 9110, 11.6.1): scheme and parameter names in lower case. */
export interface Challenge {
  scheme: string
  parameters: Map<string, string>
}

const MAX_HEADER = 16_384
const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y
const TOKEN68 = /[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))/y
const QUOTED = /"((?:[^"\\]|\\.)*)"/y
const BLANKS = /[ \t]*/y
const SEPARATORS = /[ \t,]*/y

/**
 * Parses the challenges of one header value: several may stand in it, commas may stand inside quoted values
 * (`scope="repository:a:pull,push"`). What cannot be read ends the parse; the challenges before it are kept.
 */
export function parseChallenges(header: string): Challenge[] {
  const challenges: Challenge[] = []
  const scanner = new Scanner(header.slice(0, MAX_HEADER))
  for (;;) {
    scanner.take(SEPARATORS)
    const scheme = scanner.take(TOKEN)
    if (scheme === undefined) return challenges
    const parameters = new Map<string, string>()
    challenges.push({ scheme: scheme.toLowerCase(), parameters })
    if (!readParameters(scanner, parameters)) return challenges
  }
}

/** Reads the `name=value` pairs (or the one token68) of a scheme; false when the rest of the header cannot be read. */
function readParameters(scanner: Scanner, parameters: Map<string, string>): boolean {
  scanner.take(BLANKS)
  if (scanner.take(TOKEN68) !== undefined) return true
  for (;;) {
    const start = scanner.position
    const name = scanner.take(TOKEN)
    if (name === undefined) return true
    scanner.take(BLANKS)
    if (!scanner.takeCharacter('=')) {
      scanner.position = start // the next scheme, not a parameter
      return true
    }
    scanner.take(BLANKS)
    const value = scanner.takeQuoted() ?? scanner.take(TOKEN)
    if (value === undefined) return false
    const key = name.toLowerCase()
    if (!parameters.has(key)) parameters.set(key, value)
    const separator = scanner.take(SEPARATORS) ?? ''
    if (!separator.includes(',')) return scanner.atEnd
  }
}

/** A position in a text; `take` answers what a sticky expression matches there and moves past it. */
class Scanner {
  readonly #text: string
  position = 0

  constructor(text: string) {
    this.#text = text
  }

  get atEnd(): boolean {
    return this.position >= this.#text.length
  }

  take(expression: RegExp): string | undefined {
    return this.#match(expression)?.[0]
  }

  takeQuoted(): string | undefined {
    return this.#match(QUOTED)?.[1]?.replace(/\\(.)/g, '$1')
  }

  takeCharacter(character: string): boolean {
    if (this.#text[this.position] !== character) return false
    this.position += 1
    return true
  }

  #match(expression: RegExp): RegExpExecArray | undefined {
    expression.lastIndex = this.position
    const match = expression.exec(this.#text)
    if (match === null || match[0] === '') return undefined
    this.position = expression.lastIndex
    return match
  }
}
