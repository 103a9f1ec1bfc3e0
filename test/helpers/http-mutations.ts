import * as fc from 'fast-check'
import type { HttpCase } from '../corpus/http/index.ts'

/** What is put in: line ends, blanks, framing, and what readers are known to differ about. */
const PIECES = [
  '\r\n',
  '\n',
  '\r',
  '\0',
  ' ',
  '\t',
  ':',
  ';',
  ',',
  '\x0b',
  '\x7f',
  '\xff',
  '0',
  '5',
  'a',
  '\r\n\r\n',
  '0\r\n\r\n',
  '\r\n ',
  '/',
  '#',
  '?',
  '%00',
  '*',
  'Content-Length: 5\r\n',
  'Content-Length: 0\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding: identity\r\n',
  'Connection: close\r\n',
  'Connection: Content-Length\r\n',
  'Expect: 100-continue\r\n',
  'Upgrade: websocket\r\nConnection: Upgrade\r\n',
  'Host: other.example\r\n',
  'X-Scf-Name: forged\r\n',
  'GET /smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n',
  'http://{host}',
  ' HTTP/1.0',
] as const

type Edit =
  | { kind: 'insert'; at: number; piece: string }
  | { kind: 'remove'; at: number; length: number }
  | { kind: 'repeat'; at: number; length: number }
  | { kind: 'splice'; at: number; other: number; from: number }

// A fraction of a length. Unbiased: a fuzzer's love for small numbers would put every edit into the request line.
const place = fc.noBias(fc.nat({ max: 999_999 })).map((millionths) => millionths / 1_000_000)
const length = fc.integer({ min: 1, max: 24 })
const edit: fc.Arbitrary<Edit> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('insert' as const), at: place, piece: fc.constantFrom(...PIECES) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('remove' as const), at: place, length }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('repeat' as const), at: place, length }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('splice' as const), at: place, other: place, from: place }) },
)

/** `count` requests made from the corpus by one to four edits each; the same seed gives the same ones. */
export function mutatedRequests(cases: readonly HttpCase[], seed: number, count: number): string[] {
  const short = cases.filter(({ bytes }) => bytes.length < 4_000)
  // Mostly from what is served: what is refused is refused at its first fault.
  const sound = short.filter(({ expected }) => expected.kind === 'served')
  const request = fc.tuple(fc.boolean(), place, fc.array(edit, { minLength: 1, maxLength: 4 }))
  return fc.sample(request, { seed, numRuns: count }).map(([fromAll, which, edits]) => {
    const pool = fromAll ? short : sound
    const first = pool[Math.floor(which * pool.length)]?.bytes ?? ''
    return edits.reduce((bytes, each) => apply(bytes, each, short), first)
  })
}

function apply(bytes: string, change: Edit, cases: readonly HttpCase[]): string {
  const at = Math.floor(change.at * bytes.length)
  switch (change.kind) {
    case 'insert':
      return bytes.slice(0, at) + change.piece + bytes.slice(at)
    case 'remove':
      return bytes.slice(0, at) + bytes.slice(at + change.length)
    case 'repeat':
      return bytes.slice(0, at + change.length) + bytes.slice(at)
    case 'splice': {
      const other = cases[Math.floor(change.other * cases.length)]?.bytes ?? ''
      return bytes.slice(0, at) + other.slice(Math.floor(change.from * other.length))
    }
    default:
      return change satisfies never
  }
}
