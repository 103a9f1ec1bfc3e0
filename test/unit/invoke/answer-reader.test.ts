import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toAppError } from '../../../common/index.ts'
import { AnswerReader, type EventAnswer, MAX_ANSWER_BYTES } from '../../../runtime-shim/invoke/answer-reader.ts'

const CHUNKED = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'

interface Read {
  answer: EventAnswer | undefined
  keepAliveMs: number
}

/** What comes of an answer that arrives in these pieces, and of the end of the connection behind them where `ends`. */
function read(pieces: readonly (string | Buffer)[], ends = false): Read {
  const reader = new AnswerReader()
  let answer: EventAnswer | undefined
  for (const piece of pieces) {
    // Its memory is another's as soon as it has been pushed.
    const shared = Buffer.from(piece)
    answer = reader.push(shared) ?? answer
    shared.fill('x')
  }
  if (ends) answer ??= reader.end()
  return { answer, keepAliveMs: reader.keepAliveMs }
}

function refusal(text: string): string {
  try {
    read([text], true)
  } catch (thrown) {
    const { code, message } = toAppError(thrown)
    return `${code}: ${message}`
  }
  return 'not refused'
}

describe('an answer of an event function', () => {
  it.each([
    ['has the length that it says', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello', 200, 'hello'],
    ['may be empty', 'HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n', 200, ''],
    ['may come in chunks', `${CHUNKED}3\r\nhel\r\n2;ext="a"\r\nlo\r\n0\r\nX-Trailer: 1\r\n\r\n`, 200, 'hello'],
    [
      'follows interim answers',
      'HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno',
      500,
      'no',
    ],
    ['has no body with 204', 'HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n', 204, ''],
    ['needs no reason', 'HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok', 200, 'ok'],
    ['is UTF-8', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"é"\n', 200, '"é"\n'],
  ])('%s', (_title, text, status, body) => {
    expect(read([text]).answer).toEqual({ status, body })
  })

  it('means the same in whatever pieces it arrives', () => {
    const texts = [
      'HTTP/1.1 102 Wait\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 12\r\nKeep-Alive: timeout=5\r\n\r\nhéllo wörl',
      `${CHUNKED}5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\nA: b\r\n\r\n`,
    ]
    fc.assert(
      fc.property(fc.constantFrom(...texts), fc.array(fc.nat(120), { maxLength: 12 }), (text, cuts) => {
        const bytes = Buffer.from(text)
        const at = [0, ...cuts.map((cut) => cut % bytes.length).toSorted((a, b) => a - b), bytes.length]
        const pieces = at.slice(1).map((end, index) => bytes.subarray(at[index], end))
        expect(read(pieces)).toEqual(read([bytes]))
      }),
    )
  })

  it('without a length ends with the connection, which is used no more', () => {
    expect(read(['HTTP/1.0 200 OK\r\n\r\nhel', 'lo'])).toEqual({ answer: undefined, keepAliveMs: 0 })
    expect(read(['HTTP/1.0 200 OK\r\n\r\nhel', 'lo'], true).answer).toEqual({ status: 200, body: 'hello' })
  })

  it('that is cut is no answer', () => {
    expect(read(['HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell'], true).answer).toBeUndefined()
    expect(read([`${CHUNKED}5\r\nhello\r\n0\r\n`], true).answer).toBeUndefined()
  })

  it.each([
    ['as long as nothing is said', 'HTTP/1.1 200 OK', Number.POSITIVE_INFINITY],
    ['as long as the function announces', 'HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=100', 5_000],
    ['not when it is to be closed', 'HTTP/1.1 200 OK\r\nConnection: foo, Close', 0],
    ['not by HTTP/1.0', 'HTTP/1.0 200 OK', 0],
    ['by HTTP/1.0 when it is said', 'HTTP/1.0 200 OK\r\nConnection: keep-alive', Number.POSITIVE_INFINITY],
  ])('leaves the connection open %s', (_title, head, keepAliveMs) => {
    expect(read([`${head}\r\nContent-Length: 2\r\n\r\nok`]).keepAliveMs).toBe(keepAliveMs)
  })

  it('with bytes behind its end spoils the connection', () => {
    expect(read(['HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!'])).toEqual({
      answer: { status: 200, body: 'ok' },
      keepAliveMs: 0,
    })
    expect(read([`${CHUNKED}2\r\nok\r\n0\r\n\r\nHTTP/1.1 200`])).toEqual({
      answer: { status: 200, body: 'ok' },
      keepAliveMs: 0,
    })
  })

  it.each([
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok'],
    ['a length and chunks', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['a signed length', 'HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok'],
    ['another coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n'],
    ['a folded line', 'HTTP/1.1 200 OK\r\nX: a\r\n Content-Length: 2\r\n\r\nok'],
    ['a blank before the colon', 'HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok'],
    ['a line without a colon', 'HTTP/1.1 200 OK\r\nContent-Length\r\nX: y\r\n\r\nok'],
    ['another protocol', 'SSH-2.0-OpenSSH\r\n\r\n'],
    ['a switch of protocols', 'HTTP/1.1 101 Switching Protocols\r\n\r\n'],
    ['a head without end', `HTTP/1.1 200 OK\r\nX: ${'y'.repeat(33_000)}`],
    ['interim answers without end', 'HTTP/1.1 103 Early\r\nX: y\r\n\r\n'.repeat(1_500)],
    ['a chunk of no size', `${CHUNKED}z\r\n`],
    ['a chunk that is longer than its size', `${CHUNKED}1\r\nab\r\n0\r\n\r\n`],
    ['bare line feeds between chunks', `${CHUNKED}2\nok\n0\n\n`],
    ['a line of extensions without end', `${CHUNKED}1;${'x'.repeat(5_000)}`],
    ['trailers without end', `${CHUNKED}0\r\n${`X: ${'y'.repeat(1_000)}\r\n`.repeat(20)}`],
  ])('with %s is refused', (_title, text) => {
    expect(refusal(text)).toMatch(/^answer-malformed: the answer is no HTTP\/1\.1 message: /)
  })

  it('of more than 6 MB is refused, whether that is said or found', () => {
    const more = MAX_ANSWER_BYTES + 1
    const whole = Buffer.alloc(MAX_ANSWER_BYTES, 'a').toString()
    expect(refusal(`HTTP/1.1 200 OK\r\nContent-Length: ${more}\r\n\r\n`)).toMatch(/^answer-too-large/)
    expect(refusal(`${CHUNKED}${more.toString(16)}\r\n${whole}a\r\n`)).toMatch(/^answer-too-large/)
    expect(refusal(`HTTP/1.1 200 OK\r\n\r\n${whole}a`)).toMatch(/^answer-too-large/)
    expect(read([`HTTP/1.1 200 OK\r\nContent-Length: ${MAX_ANSWER_BYTES}\r\n\r\n${whole}`]).answer?.body).toHaveLength(
      MAX_ANSWER_BYTES,
    )
  })

  it('never breaks the reader, whatever it is', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 5 }), (pieces) => {
        expect(refusal(`${CHUNKED}${Buffer.concat(pieces).toString('latin1')}`)).toMatch(
          /^(?:answer-malformed|not refused)/,
        )
      }),
    )
  })
})
