import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TokenRequest, tokenHandler } from '../../../registry-auth/index.ts'

describe('the token endpoint', () => {
  const seen: TokenRequest[] = []
  const failures: unknown[] = []
  let server: Server
  let url: string

  beforeAll(async () => {
    const handle = tokenHandler({
      answer: async (request) => {
        seen.push(request)
        return { status: 200, headers: { 'content-type': 'application/json' }, body: '{"token":"t"}' }
      },
    })
    server = createServer((request, response) => {
      handle(request, response).catch((thrown: unknown) => failures.push(thrown))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`
  })
  afterAll(() => server.close().closeAllConnections())

  const post = (body: string, type = 'application/x-www-form-urlencoded') =>
    fetch(url, { method: 'POST', body, headers: { 'content-type': type } })

  it('reads query and authorization of a GET', async () => {
    const answer = await fetch(`${url}?service=a&scope=x&scope=y`, { headers: { authorization: 'Basic abc' } })
    expect([answer.status, await answer.json()]).toEqual([200, { token: 't' }])
    expect(seen.at(-1)).toMatchObject({ method: 'GET', authorization: 'Basic abc' })
    expect(seen.at(-1)?.query.getAll('scope')).toEqual(['x', 'y'])
  })

  it('reads the form of a POST', async () => {
    expect(
      (await post('grant_type=password&password=a%26b+c', 'application/x-www-form-urlencoded; charset=utf-8')).status,
    ).toBe(200)
    expect(seen.at(-1)?.form.get('password')).toBe('a&b c')
  })

  it('refuses other methods, other bodies and long ones', async () => {
    const before = seen.length
    const deleted = await fetch(url, { method: 'DELETE' })
    expect([deleted.status, deleted.headers.get('allow')]).toEqual([405, 'GET, POST'])
    expect((await post('{}', 'application/json')).status).toBe(415)
    expect((await post('a'.repeat(70_000))).status).toBe(413)
    expect(seen).toHaveLength(before)
  })

  it('does not mind a client that leaves while it sends', async () => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.write(
      'POST /token HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 100\r\n\r\nabc',
    )
    await once(server, 'request')
    socket.destroy()
    await once(socket, 'close')
    expect((await fetch(url)).status).toBe(200)
    expect(failures).toEqual([])
  })
})
