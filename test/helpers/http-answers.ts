/** One answer as it stands on the wire, read by rules that forgive nothing (RFC 9112 4, 6.3, 7.1). */
export interface WireAnswer {
  status: number
  /** Names in lower case. */
  fields: [string, string][]
  body: string
}

const STATUS_LINE = /^HTTP\/1\.1 ([1-5][0-9]{2}) [\t\x20-\x7e]*$/
const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*$/

/** All final answers of a connection that has ended. `methods`: of the requests, in order. Throws when a byte is left over or missing. */
export function readAnswers(wire: string, methods: readonly string[]): WireAnswer[] {
  const answers: WireAnswer[] = []
  let at = 0
  while (at < wire.length) {
    const end = wire.indexOf('\r\n\r\n', at)
    if (end === -1) throw new Error(`an answer's head does not end: ${JSON.stringify(wire.slice(at, at + 200))}`)
    const { status, fields } = readHead(wire.slice(at, end))
    at = end + 4
    if (status < 200 && status !== 101) continue
    const method = methods[answers.length] ?? 'GET'
    const { body, next } = readBody(wire, at, fields, method === 'HEAD' || status === 204 || status === 304)
    answers.push({ status, fields, body })
    at = next
    if (status === 101) return answers
  }
  return answers
}

function readHead(text: string): Pick<WireAnswer, 'status' | 'fields'> {
  const [line = '', ...lines] = text.split('\r\n')
  const status = STATUS_LINE.exec(line)?.[1]
  if (status === undefined) throw new Error(`no status line: ${JSON.stringify(line)}`)
  const fields = lines.map((each): [string, string] => {
    const [, name, value = ''] = FIELD.exec(each) ?? []
    if (name === undefined) throw new Error(`no field line: ${JSON.stringify(each)}`)
    return [name.toLowerCase(), value]
  })
  return { status: Number(status), fields }
}

function readBody(
  wire: string,
  from: number,
  fields: [string, string][],
  none: boolean,
): { body: string; next: number } {
  const of = (name: string): string[] => fields.filter(([each]) => each === name).map(([, value]) => value)
  const [length, ...lengths] = of('content-length')
  const codings = of('transfer-encoding')
  if (lengths.length > 0 || (length !== undefined && codings.length > 0)) throw new Error('an answer is framed twice')
  if (none) return { body: '', next: from }
  if (codings.length > 0) return readChunks(wire, from)
  if (length === undefined) return { body: wire.slice(from), next: wire.length }
  const next = from + Number(length)
  if (!/^[0-9]+$/.test(length) || next > wire.length) throw new Error(`an answer is shorter than its length ${length}`)
  return { body: wire.slice(from, next), next }
}

function readChunks(wire: string, from: number): { body: string; next: number } {
  let body = ''
  let at = from
  for (;;) {
    const end = wire.indexOf('\r\n', at)
    const size = Number.parseInt(wire.slice(at, end), 16)
    if (end === -1 || Number.isNaN(size)) throw new Error('an answer has a malformed chunk')
    at = end + 2 + size + 2
    if (wire.slice(at - 2, at) !== '\r\n') throw new Error('a chunk of an answer does not end where it says')
    if (size === 0) return { body, next: at }
    body += wire.slice(end + 2, at - 2)
  }
}
