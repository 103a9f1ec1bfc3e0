import { describe, expect, it } from 'vitest'
import { WebAnswerReader } from '../../../runtime-shim/invoke/web-answer-reader.ts'

interface Told {
  interim: [number, string[]][]
  head: [number, string[], number | undefined] | undefined
  body: string
  trailers: string[] | undefined
}

/** What a reader tells of an answer that comes in pieces of `size`. */
function read(text: string, { method = 'GET', size = text.length, ends = false } = {}) {
  const told: Told = { interim: [], head: undefined, body: '', trailers: undefined }
  const reader = new WebAnswerReader(method, {
    interim: (status, raw) => told.interim.push([status, raw]),
    head: (status, raw, length) => {
      told.head = [status, raw, length]
    },
    data: (piece) => {
      told.body += piece.toString('latin1')
    },
    end: (raw) => {
      told.trailers = raw
    },
  })
  const bytes = Buffer.from(text, 'latin1')
  for (let at = 0; at < bytes.length; at += size) reader.push(bytes.subarray(at, at + size))
  if (ends) reader.end()
  return { ...told, isOver: reader.isOver, keepAliveMs: reader.keepAliveMs }
}

describe('the answer of a web function', () => {
  it.each([1, 2, 7, 1_000])(
    'is read alike in pieces of %i bytes: interim answers, fields, chunks, trailers',
    (size) => {
      const text =
        'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nSet-Cookie: a\r\nset-cookie: b\r\nTransfer-Encoding: chunked\r\n' +
        'Keep-Alive: timeout=5\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-Sum: 42\r\n\r\n'
      expect(read(text, { size })).toEqual({
        interim: [[103, ['Link', '</a>']]],
        head: [
          200,
          ['Set-Cookie', 'a', 'set-cookie', 'b', 'Transfer-Encoding', 'chunked', 'Keep-Alive', 'timeout=5'],
          undefined,
        ],
        body: 'abc0123456789',
        trailers: ['X-Sum', '42'],
        isOver: true,
        keepAliveMs: 5_000,
      })
    },
  )

  it.each([
    ['to HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', 'HEAD'],
    ['of status 204', 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n', 'GET'],
    ['of status 304', 'HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n', 'GET'],
    ['of length 0', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', 'GET'],
  ])('%s ends with its head', (_title, text, method) => {
    expect(read(text, { method })).toMatchObject({ body: '', isOver: true })
  })

  it('without a length ends with its connection, which is not used again', () => {
    const text = 'HTTP/1.1 200 OK\r\n\r\nhalf'
    expect(read(text)).toMatchObject({ body: 'half', isOver: false })
    expect(read(text, { ends: true })).toMatchObject({ body: 'half', isOver: true, keepAliveMs: 0 })
  })

  it.each([
    ['short of its length', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhalf'],
    ['within its chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n'],
    ['within its head', 'HTTP/1.1 200 OK\r\nContent-Le'],
  ])('that ends %s is not over', (_title, text) => {
    expect(read(text, { ends: true })).toMatchObject({ isOver: false, trailers: undefined })
  })

  it('with more bytes than it has leaves a connection that is not used again', () => {
    const text = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n'
    for (const size of [1, 1_000]) expect(read(text, { size })).toMatchObject({ body: 'ok', keepAliveMs: 0 })
  })

  it.each([
    ['no HTTP', 'hello\r\n\r\n'],
    ['a switch of protocols', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n'],
    ['a length and chunks', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['a folded line', 'HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\n\r\n'],
    ['a head of 33 KB', `HTTP/1.1 200 OK\r\nX-A: ${'x'.repeat(33_000)}\r\n\r\n`],
    ['interim answers without end', 'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(2_000)],
    ['a trailer that is no field', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nnonsense\r\n\r\n'],
  ])('is refused: %s', (_title, text) => {
    expect(() => read(text)).toThrow(expect.objectContaining({ code: 'answer-malformed' }))
    expect(() => read(text, { size: 3 })).toThrow(expect.objectContaining({ code: 'answer-malformed' }))
  })
})
