import { connect } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import type { HttpCase, Seen } from '../corpus/http/index.ts'
import { readRequest } from '../fixtures/recorder/reader.mjs'
import { readAnswers, type WireAnswer } from './http-answers.ts'

/** What test/fixtures/recorder keeps of one request, or what it could not read. */
export type Recorded =
  | {
      method: string
      target: string
      fields: [string, string][]
      body: string
      trailers: [string, string][]
      bad?: undefined
      cut?: undefined
    }
  | { bad: string; bytes: string; cut?: undefined }
  | { cut: string; bad?: undefined; bytes?: undefined }

export interface Sent {
  id: string
  /** What came back, whole. */
  wire: string
  /** Whether the gateway ended the connection by itself in time. */
  ended: boolean
}

export interface CorpusTarget {
  port: number
  /** Host of the function. */
  host: string
}

export interface SendOptions {
  /** Where the bytes are cut into writes: ascending offsets. Default: one write. */
  cuts?: (length: number) => readonly number[]
  /** When the caller ends its side, for bytes that may announce more than they bring. Default: never. */
  endAfterMs?: number
}

const CASE_MS = 8_000
const AT_ONCE = 48

/** Sends every case on a connection of its own, many at once. Nothing waits longer than 8 s. */
export async function sendCases(
  cases: readonly Pick<HttpCase, 'bytes'>[],
  target: CorpusTarget,
  prefix: string,
  options: SendOptions = {},
): Promise<Sent[]> {
  const sent: Sent[] = []
  const queue = cases.entries()
  const worker = async (): Promise<void> => {
    for (const [at, each] of queue) {
      const id = `${prefix}.${at}-`
      sent[at] = {
        id,
        ...(await sendBytes(target.port, Buffer.from(bytesOf(each, id, target.host), 'latin1'), options)),
      }
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  return sent
}

/** The case with the sentinel behind it. */
function bytesOf({ bytes }: Pick<HttpCase, 'bytes'>, id: string, host: string): string {
  const sentinel = `GET /${id}sentinel HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`
  return fill(bytes, id, host) + sentinel
}

/** `{id}` stands at the end of a path or before more of it: the id itself ends in "-", so that none is the beginning of another. */
function fill(text: string, id: string, host: string): string {
  return text.replaceAll('{id}', id).replaceAll('{host}', host).replaceAll('{HOST}', host.toUpperCase())
}

export async function sendBytes(port: number, bytes: Buffer, options: SendOptions = {}): Promise<Omit<Sent, 'id'>> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  socket.setNoDelay(true)
  let wire = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    wire += chunk
  })
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const timer = setTimeout(resolve, CASE_MS, false)
  socket
    .on('error', () => undefined)
    .once('end', () => resolve(true))
    .once('close', () => resolve(true))
  let from = 0
  const { cuts, endAfterMs } = options
  for (const to of [...(cuts?.(bytes.length) ?? []), bytes.length]) {
    socket.write(bytes.subarray(from, to))
    from = to
    await turn()
  }
  const finish = endAfterMs === undefined ? undefined : setTimeout(() => socket.end(), endAfterMs)
  const ended = await promise
  clearTimeout(timer)
  clearTimeout(finish)
  socket.destroy()
  return { wire, ended }
}

const ID = /[a-z0-9]+\.[0-9]+-/

/** What the function saw, by the case that sent it. */
export class Recordings {
  readonly all: readonly Recorded[]
  readonly #byId: Map<string | undefined, Recorded[]>

  constructor(all: readonly Recorded[]) {
    this.all = all
    this.#byId = Map.groupBy(all, (each) => ID.exec(JSON.stringify(each))?.[0])
  }

  of(id: string): readonly Recorded[] {
    return this.#byId.get(id) ?? []
  }

  /** What came from none of these. */
  strays(sent: readonly Sent[]): readonly Recorded[] {
    const known = new Set<string | undefined>(sent.map(({ id }) => id))
    return [...this.#byId].flatMap(([id, recorded]) => (known.has(id) ? [] : recorded))
  }
}

/** Everything that the function has seen since it was asked last. */
export async function takeRecorded({ port, host }: CorpusTarget): Promise<Recordings> {
  const { wire } = await sendBytes(
    port,
    Buffer.from(`GET /.recorded HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`),
  )
  const [answer] = readAnswers(wire, ['GET'])
  return new Recordings(JSON.parse(Buffer.from(answer?.body ?? '', 'latin1').toString('utf8')) as Recorded[])
}

/** What is wrong with how one case ended: nothing in the best case. `recorded` is all that the function saw. */
export function judge(one: HttpCase, sent: Sent, recorded: Recordings, host: string): string[] {
  const { expected } = one
  const isServed = expected.kind === 'served'
  // What is refused in the middle of its body was on its way to the function: there it must never end.
  const mine = recorded.of(sent.id).filter(({ cut }) => isServed || cut === undefined)
  const wanted = (isServed ? expected.seen : expected.before).map(
    (each) => JSON.parse(fill(JSON.stringify(each), sent.id, host)) as Seen,
  )
  if (isServed && one.last !== true) wanted.push({ method: 'GET', target: `/${sent.id}sentinel`, body: '' })
  const faults = [...(sent.ended ? [] : ['the connection was not ended']), ...judgeSeen(mine, wanted)]
  try {
    const methods = [...wanted.map(({ method }) => method), one.bytes.startsWith('HEAD ') ? 'HEAD' : 'GET']
    const answers = readAnswers(sent.wire, methods)
    faults.push(...judgeAnswers(answers, wanted.length, isServed ? undefined : expected.status))
  } catch (thrown) {
    faults.push(String(thrown))
  }
  return faults
}

/**
 * The same for bytes of which nobody has written down what they mean. Whatever the gateway made of them: it ends the connection, answers
 * what the function saw and at most one refusal, and passes on only requests that stand in the bytes when they are read by the rules.
 */
export function judgeMutation(bytes: string, sent: Sent, recorded: Recordings, host: string): string[] {
  const whole = recorded.of(sent.id).filter(({ cut }) => cut === undefined)
  const faults = sent.ended ? [] : ['the connection was not ended']
  const broken = whole.find((each) => each.bad !== undefined)
  if (broken !== undefined) faults.push(`the function could not read ${JSON.stringify(broken).slice(0, 500)}`)
  const mine = whole.filter((each) => each.bad === undefined) as Extract<Recorded, { target: string }>[]
  for (const { fields } of mine) {
    const forged = forgedPlatformField(fields)
    if (forged !== undefined) faults.push(forged)
  }
  const strict = readAll(bytesOf({ bytes }, sent.id, host))
  const unread = mine.filter(
    (each) => !strict.requests.some((one) => one.target === each.target && one.body === each.body),
  )
  if (strict.whole && unread.length > 0)
    faults.push(`the function saw what was not sent: ${JSON.stringify(unread[0]).slice(0, 400)}`)
  if (strict.whole && mine.length > strict.requests.length) faults.push('the function saw more requests than were sent')
  return faults
}

/** All requests of a connection by the recorder's own reader; `whole` when it could read every byte. */
function readAll(text: string): { requests: { target: string; body: string }[]; whole: boolean } {
  const requests: { target: string; body: string }[] = []
  let rest = Buffer.from(text, 'latin1')
  while (rest.length > 0) {
    const read = readRequest(rest)
    if (read.kind !== 'request') return { requests, whole: false }
    requests.push(read.request)
    rest = rest.subarray(read.bytes)
  }
  return { requests, whole: true }
}

function judgeSeen(mine: readonly Recorded[], wanted: readonly Seen[]): string[] {
  const faults: string[] = []
  const left = [...mine]
  for (const want of wanted) {
    const at = left.findIndex((each) => faultOf(each, want) === undefined)
    if (at !== -1) left.splice(at, 1)
    else {
      const near = left.find((each) => 'target' in each && each.target === want.target)
      const instead = near === undefined ? 'at all' : faultOf(near, want)
      faults.push(`the function did not see ${want.method} ${want.target.slice(0, 100)}: ${instead}`)
    }
  }
  return [...faults, ...left.map((each) => `the function also saw ${JSON.stringify(each).slice(0, 600)}`)]
}

function faultOf(recorded: Recorded, want: Seen): string | undefined {
  if (!('method' in recorded)) return JSON.stringify(recorded).slice(0, 300)
  const { method, target, body, fields, trailers } = recorded
  if (method !== want.method || target !== want.target) return `${method} ${target.slice(0, 200)}`
  if (body !== want.body) return `a body of ${body.length} bytes: ${JSON.stringify(body.slice(0, 200))}`
  const of = (name: string): string[] =>
    fields.filter(([each]) => each.toLowerCase() === name).map(([, value]) => value)
  for (const [name, values] of Object.entries(want.fields ?? {})) {
    if (JSON.stringify(of(name)) !== JSON.stringify(values))
      return `${name} is ${JSON.stringify(of(name)).slice(0, 300)}`
  }
  for (const name of want.without ?? []) if (of(name).length > 0) return `${name} arrived: ${of(name).join(', ')}`
  if (want.trailers !== undefined && JSON.stringify(trailers) !== JSON.stringify(want.trailers))
    return `trailers ${JSON.stringify(trailers)}`
  const passedOn = of('connection').find((value) => !/^(?:close|keep-alive|upgrade)$/i.test(value))
  return passedOn === undefined ? forgedPlatformField(fields) : `Connection: ${passedOn} arrived`
}

/** Whatever the caller sent: of these there is exactly one, and it is the platform's. */
function forgedPlatformField(fields: readonly [string, string][]): string | undefined {
  const ours = fields.filter(([name]) => /^x-(?:scf|slipway)-/i.test(name))
  const names = new Set(ours.map(([name]) => name.toLowerCase()))
  const forged = ours.find(([, value]) => value.includes('forged'))
  if (forged !== undefined) return `${forged.join(': ')} arrived`
  return names.size === 9 && ours.length === 9
    ? undefined
    : `${ours.length} fields of the platform: ${[...names].join(', ')}`
}

function judgeAnswers(
  answers: readonly WireAnswer[],
  served: number,
  refusal: readonly number[] | undefined,
): string[] {
  const faults: string[] = []
  const wanted = served + (refusal === undefined ? 0 : 1)
  const statuses = answers.map(({ status }) => status)
  if (answers.length !== wanted) faults.push(`${answers.length} answers instead of ${wanted}: ${statuses.join(', ')}`)
  if (statuses.slice(0, served).some((status) => status !== 200)) faults.push(`served with ${statuses.join(', ')}`)
  const last = answers.at(-1)
  if (refusal !== undefined && last !== undefined && !refusal.includes(last.status))
    faults.push(`refused with ${last.status}`)
  if (refusal !== undefined && !last?.fields.some(([name, value]) => name === 'connection' && value === 'close'))
    faults.push('the refusal does not say that it ends the connection')
  for (const { fields } of answers) {
    const forged = fields.find(
      ([name, value]) =>
        name === 'x-hop' || name === 'x-scf-forged' || (name === 'x-slipway-status' && value === '999'),
    )
    if (forged !== undefined) faults.push(`the caller got ${forged.join(': ')}`)
  }
  return faults
}
