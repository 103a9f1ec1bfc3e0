import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type FunctionView, type InvocationResult, ROUTES, violationsOf } from '../../api/index.ts'
import { digest, type RunningControlPlane, startControlPlane, TOKEN } from '../helpers/control-plane.ts'
import { sendRaw } from '../helpers/raw-http.ts'

const FUNCTIONS = '/v1/namespaces/default/functions'
let plane: RunningControlPlane

beforeAll(async () => {
  plane = await startControlPlane()
})
afterAll(() => plane.close())

async function deploy(name: string, body: object = {}): Promise<FunctionView> {
  const response = await plane.request('PUT', `${FUNCTIONS}/${name}`, { image: `default/${name}`, ...body })
  const view = (await response.json()) as FunctionView
  expect(response.status, JSON.stringify(view)).toBe(200)
  expect(violationsOf(ROUTES.deploy.answer.schema, view)).toEqual([])
  return view
}

async function problem(response: Response): Promise<{ status: number; code: string; detail: string }> {
  expect(response.headers.get('content-type')).toBe('application/problem+json')
  const body = (await response.json()) as { code: string; detail: string }
  return { status: response.status, code: body.code, detail: body.detail }
}

describe('deploy', () => {
  test('pins what the tag points to now; latest where none is named', async () => {
    const view = await deploy('pinned')
    expect(view.image).toMatchObject({ registry: '127.0.0.1:5000', tag: 'latest', digest: digest('latest') })
    expect(view.imageReference).toBe(`127.0.0.1:5000/default/pinned:latest@${digest('latest')}`)
    expect(view.revision).toBe(1)
    expect(plane.runtime.changed.at(-1)?.function).toBe('pinned')
    plane.resolver.tags.set('latest', digest('pushed anew'))
    const still = (await (await plane.request('GET', `${FUNCTIONS}/pinned`)).json()) as FunctionView
    expect(still.image.digest).toBe(digest('latest'))
    plane.resolver.tags.set('latest', digest('latest'))
  })

  test('takes NAME:TAG@DIGEST by its digest and keeps the tag', async () => {
    const view = await deploy('both', { image: `default/both:v1@${digest('x')}` })
    expect(view.image).toMatchObject({ tag: 'v1', digest: digest('x') })
  })

  test('fills in defaults, splits args on blanks and answers the url', async () => {
    const view = await deploy('args', { settings: { args: ' -u  app.py ', type: 'web' } })
    expect(view.settings).toEqual({
      type: 'web',
      args: ['-u', 'app.py'],
      env: {},
      memory: 128,
      timeout: 3,
      initTimeout: 90,
      concurrency: 1,
      provisioned: 0,
      prewarm: 0,
      keepAlive: 300,
    })
    expect(view.url).toBe(`http://args.default.localhost:${plane.port}/`)
    expect(view.pathUrl).toBe(`${plane.url}/web/default/args/`)
  })

  test('replaces all settings, or keeps what is not named and takes away what is null', async () => {
    await deploy('kept', { settings: { memory: 256, env: { A: '1', B: '2' }, args: ['x'] } })
    const response = await plane.request('PUT', `${FUNCTIONS}/kept`, {
      keep: true,
      settings: { timeout: 9, env: { A: null, TZ: 'Europe/Oslo' }, args: null },
    })
    const kept = (await response.json()) as FunctionView
    expect(kept.settings).toMatchObject({ memory: 256, timeout: 9, env: { B: '2', TZ: 'Europe/Oslo' } })
    expect(kept.settings.args).toBeUndefined()
    expect(kept.image.digest).toBe(digest('latest'))
    expect((await deploy('kept')).settings).toMatchObject({ memory: 128, env: {} })
  })

  test('refuses reserved, malformed and too many environment variables, naming all of them', async () => {
    const env = {
      SCF_X: '1',
      QCLOUD_X: '1',
      TENCENTCLOUD_X: '1',
      TECENTCLOUD_X: '1',
      '1A': '1',
      GOOD: 'x'.repeat(4096),
    }
    const refused = await problem(
      await plane.request('PUT', `${FUNCTIONS}/env`, { image: 'default/env', settings: { env } }),
    )
    expect(refused).toMatchObject({ status: 400, code: 'settings-invalid' })
    for (const name of ['SCF_X', 'QCLOUD_X', 'TENCENTCLOUD_X', 'TECENTCLOUD_X', '1A', 'at most 4096']) {
      expect(refused.detail).toContain(name)
    }
  })

  test('allows more environment where the namespace does', async () => {
    await plane.request('PUT', '/v1/namespaces/roomy', { maxEnvBytes: 8192 })
    const body = { image: 'roomy/env', settings: { env: { BIG: 'x'.repeat(8000) } } }
    const response = await plane.request('PUT', '/v1/namespaces/roomy/functions/env', body)
    expect(response.status).toBe(200)
  })

  test('refuses settings that break a rule, an unknown setting, and a namespace that does not exist', async () => {
    for (const [settings, said] of [
      [{ memory: 200 }, 'multiple of 128'],
      [{ memory: 32 }, '>= 64'],
      [{ timeout: 901 }, '<= 900'],
      [{ initTimeout: 2 }, '>= 3'],
      [{ type: 'cron' }, 'must be one of event, web, job'],
      [{ memroy: 128 }, 'settings.memroy is not known'],
    ] as const) {
      const refused = await problem(await plane.request('PUT', `${FUNCTIONS}/bad`, { image: 'default/bad', settings }))
      expect(refused.status).toBe(400)
      expect(refused.detail).toContain(said)
    }
    const nowhere = await plane.request('PUT', '/v1/namespaces/nowhere/functions/f', { image: 'a/b' })
    expect(await problem(nowhere)).toMatchObject({ status: 404, code: 'namespace-not-found' })
  })

  test('leaves the former content serving when an update fails', async () => {
    const before = await deploy('steady')
    const failed = await plane.request('PUT', `${FUNCTIONS}/steady`, { image: 'default/steady:absent' })
    expect(await problem(failed)).toMatchObject({ status: 404, code: 'image-not-found' })
    expect(await (await plane.request('GET', `${FUNCTIONS}/steady`)).json()).toEqual(before)
  })

  test('refuses a revision that is not the present one', async () => {
    await deploy('race', { ifRevision: 0 })
    const again = await plane.request('PUT', `${FUNCTIONS}/race`, { image: 'default/race', ifRevision: 0 })
    expect(await problem(again)).toMatchObject({ status: 409, code: 'revision-conflict' })
    expect((await deploy('race', { ifRevision: 1 })).revision).toBe(2)
  })

  test('two at once that keep settings lose neither change', async () => {
    await deploy('both-kept')
    await Promise.all(
      Array.from({ length: 4 }, (_, n) =>
        plane.request('PUT', `${FUNCTIONS}/both-kept`, { keep: true, settings: { env: { [`K${n}`]: 'v' } } }),
      ),
    )
    const view = (await (await plane.request('GET', `${FUNCTIONS}/both-kept`)).json()) as FunctionView
    expect(Object.keys(view.settings.env).sort()).toEqual(['K0', 'K1', 'K2', 'K3'])
    expect(view.revision).toBe(5)
  })

  test('a function made again after its deletion goes on with the next revision', async () => {
    await deploy('again')
    expect((await plane.request('DELETE', `${FUNCTIONS}/again`)).status).toBe(200)
    expect(plane.runtime.deleted).toContain('default/again')
    expect((await plane.request('GET', `${FUNCTIONS}/again`)).status).toBe(404)
    expect((await plane.request('DELETE', `${FUNCTIONS}/again`)).status).toBe(404)
    expect((await deploy('again')).revision).toBe(2)
  })
})

describe('access', () => {
  test('asks for the token everywhere but at the health check and the token server', async () => {
    for (const headers of [
      {},
      { authorization: 'Bearer wrong' },
      { authorization: TOKEN },
      { authorization: 'Basic x' },
    ]) {
      const response = await plane.request('GET', FUNCTIONS, undefined, { ...headers })
      expect(response.headers.get('www-authenticate')).toBe('Bearer')
      expect(await problem(response)).toMatchObject({ status: 401, code: 'unauthorized' })
    }
    expect((await plane.request('GET', '/healthz', undefined, {})).status).toBe(200)
    expect((await plane.request('GET', '/registry/token?scope=x', undefined, {})).status).toBe(200)
  })

  test('answers to its own host names only', async () => {
    for (const [host, status] of [
      ['evil.example', 421],
      ['127.0.0.1.evil.example', 421],
      ['localhost', 200],
      ['LOCALHOST.:1', 200],
      ['[::1]:8080', 200],
    ] as const) {
      const answer = await sendRaw(plane.port, `GET /healthz HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
      expect(answer.split(' ', 2)[1], host).toBe(String(status))
    }
  })
})

describe('an event call', () => {
  beforeAll(() => deploy('echo'))
  const invoke = (body: string, query = '', headers: Record<string, string> = {}, name = 'echo') =>
    plane.request('POST', `${FUNCTIONS}/${name}/invocations${query}`, body, {
      authorization: `Bearer ${TOKEN}`,
      ...headers,
    })

  test('answers the result with its number, a request id of ours, and keeps the caller’s', async () => {
    const response = await invoke('{"a":1}', '?qualifier=$LATEST&tail=true', { 'x-request-id': 'mine' })
    const result = (await response.json()) as InvocationResult
    expect(response.status).toBe(200)
    expect(result).toMatchObject({ statusCode: 200, result: { a: 1 }, logTail: 'said' })
    expect(violationsOf(ROUTES.invoke.answer.schema, result)).toEqual([])
    expect(response.headers.get('x-slipway-status')).toBe('200')
    expect(response.headers.get('x-request-id')).toBe(result.requestId)
    expect(result.requestId).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(plane.runtime.events.at(-1)?.callerRequestId).toBe('mine')
    expect(response.headers.get('server-timing')).toBeNull()
  })

  test('gives Server-Timing when asked', async () => {
    plane.runtime.nextResult = { coldStart: { totalMs: 12, phases: { create: 5, listen: 7 } } }
    const response = await invoke('1', '', { 'x-slipway-timing': '1' })
    expect(response.headers.get('server-timing')).toBe(
      'create;dur=5.0, listen;dur=7.0, coldstart;dur=12.0, function;dur=1.5',
    )
  })

  test('maps the numbers of the runtime to HTTP', async () => {
    for (const [statusCode, http] of [
      [433, 504],
      [430, 502],
      [446, 504],
      [432, 429],
      [500, 500],
    ] as const) {
      plane.runtime.nextResult = { statusCode }
      const response = await invoke('1')
      expect(response.status).toBe(http)
      expect(response.headers.get('x-slipway-status')).toBe(String(statusCode))
    }
  })

  test.each([
    ['no JSON', '{', '', 400, 400, 'InvalidParameterValue'],
    ['a bare word', 'hello', '', 400, 400, 'InvalidParameterValue'],
    ['an unknown version', '1', '?qualifier=7', 404, 442, 'QualifierNotFound'],
    ['a malformed qualifier', '1', '?qualifier=%20', 400, 400, 'InvalidParameterValue'],
  ])('refuses %s with its number', async (_title, body, query, http, number, name) => {
    const response = await invoke(body, query)
    const result = (await response.json()) as InvocationResult
    expect(response.status).toBe(http)
    expect(result.statusCode).toBe(number)
    expect(result.result).toMatchObject({ errorCode: -1, requestId: result.requestId, statusCode: number })
    expect((result.result as { errorMessage: string }).errorMessage).toMatch(new RegExp(`^${name}: `))
  })

  test('refuses an unknown function, a web function and a wrong token with their numbers', async () => {
    await deploy('page', { settings: { type: 'web' } })
    expect((await invoke('1', '', {}, 'absent')).headers.get('x-slipway-status')).toBe('435')
    expect((await invoke('1', '', {}, 'page')).headers.get('x-slipway-status')).toBe('436')
    const unauthorized = await invoke('1', '', { authorization: 'Bearer no' })
    expect([unauthorized.status, unauthorized.headers.get('x-slipway-status')]).toEqual([401, '401'])
  })

  test('takes 6 MB and refuses one byte more, announced or not, with an answer that can be read', async () => {
    const json = `"${'x'.repeat(6 * 1024 * 1024 - 2)}"`
    expect((await invoke(json)).status).toBe(200)
    const over = await invoke(`${json} `)
    expect([over.status, over.headers.get('x-slipway-status')]).toEqual([413, '406'])
    const chunked = await fetch(`${plane.url}${FUNCTIONS}/echo/invocations`, {
      method: 'POST',
      headers: { authorization: `Bearer ${TOKEN}` },
      body: new Blob([json, '  ']).stream(),
      duplex: 'half',
    })
    expect(chunked.status).toBe(413)
  })

  test('shares one budget for all bodies, and gives every byte back', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    plane.runtime.gate = promise
    const json = `"${'x'.repeat(6 * 1024 * 1024 - 2)}"`
    const calls = Array.from({ length: 3 }, () => invoke(json))
    const refused = await Promise.race(calls)
    expect([refused.status, refused.headers.get('x-slipway-status')]).toEqual([503, '449'])
    resolve()
    plane.runtime.gate = Promise.resolve()
    expect((await Promise.all(calls)).map(({ status }) => status).sort()).toEqual([200, 200, 503])
    expect((await Promise.all([invoke(json), invoke(json)])).map(({ status }) => status)).toEqual([200, 200])
  })

  test('asks a caller that waits to continue only when the event is wanted', async () => {
    const head = (length: number): string =>
      `POST ${FUNCTIONS}/echo/invocations HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${TOKEN}\r\n` +
      `Connection: close\r\nExpect: 100-continue\r\nContent-Length: ${length}\r\n\r\n`
    expect(await sendRaw(plane.port, `${head(1)}7`)).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /)
    expect(await sendRaw(plane.port, head(7_000_000), 8_000)).toMatch(/^HTTP\/1\.1 413 /)
  })

  test('keeps a record of what it refuses itself', async () => {
    const { requestId } = (await (await invoke('{')).json()) as InvocationResult
    const record = await (await plane.request('GET', `/v1/invocations/${requestId}`)).json()
    expect(record).toMatchObject({ requestId, function: 'echo', statusCode: 400, instance: null })
    const list = (await (await plane.request('GET', `${FUNCTIONS}/echo/invocations?limit=1`)).json()) as {
      invocations: { requestId: string }[]
    }
    expect(list.invocations.map((entry) => entry.requestId)).toEqual([requestId])
  })
})

describe('a web call', () => {
  beforeAll(() => deploy('site', { settings: { type: 'web' } }))
  const get = (host: string, target: string, extra = '') =>
    sendRaw(plane.port, `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${extra}\r\n`)

  test('reaches the function by its own host, untouched', async () => {
    plane.runtime.webHeaders = ['Set-Cookie', 'a=1; Path=/; Domain=x', 'Clear-Site-Data', '*']
    const answer = await get('site.default.localhost:8080', '/a//b/../c?x=%2F&y')
    expect(answer).toContain('site GET /a//b/../c?x=%2F&y null')
    expect(answer).toContain('Set-Cookie: a=1; Path=/; Domain=x')
    expect(answer).not.toMatch(/content-security-policy/i)
  })

  test('reaches it below /web/ with the prefix removed and the answer confined', async () => {
    plane.runtime.webHeaders = [
      'Set-Cookie',
      'a=1; Path=/; Domain=x',
      'Set-Cookie',
      '__Host-b=2',
      'Clear-Site-Data',
      '*',
    ]
    const answer = await get('127.0.0.1', '/web/default/site/a?b')
    expect(answer).toContain('site GET /a?b /web/default/site')
    expect(answer).toContain('Set-Cookie: a=1; Path=/web/default/site/\r\n')
    expect(answer).toContain('Content-Security-Policy: sandbox allow-scripts allow-forms\r\n')
    expect(answer).not.toMatch(/__Host-b|Clear-Site-Data/)
    plane.runtime.webHeaders = []
  })

  test('is told to continue by whoever runs the function: the gateway leaves its Expect alone', async () => {
    const head = 'POST / HTTP/1.1\r\nHost: site.default.localhost\r\nConnection: close\r\nContent-Length: 2\r\n'
    const answer = await sendRaw(plane.port, `${head}Expect: 100-continue\r\n\r\nhi`)
    expect(answer).toMatch(/^HTTP\/1\.1 200 [^]*site POST \/ null hi/)
    expect(plane.runtime.lastRawHeaders).toContain('Expect')
    expect(await sendRaw(plane.port, `${head}Expect: tea\r\n\r\nhi`)).toMatch(/^HTTP\/1\.1 417 /)
  })

  test('is sent on when the slash behind the name lacks', async () => {
    expect(await get('127.0.0.1', '/web/default/site?x=1')).toMatch(
      /^HTTP\/1\.1 308 [^]*location: \/web\/default\/site\/\?x=1\r\n/i,
    )
  })

  test('of an unknown function is 404, of an event function says how to call it', async () => {
    await deploy('worker')
    expect(await get('absent.default.localhost', '/')).toMatch(/^HTTP\/1\.1 404 [^]*"code":"function-not-found"/)
    expect(await get('worker.default.localhost', '/')).toMatch(/^HTTP\/1\.1 400 [^]*slipway invoke worker/)
    expect(await get('a.b.c.localhost', '/')).toMatch(/^HTTP\/1\.1 421 /)
  })

  test('passes WebSockets on, and refuses to upgrade the API', async () => {
    const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
    const send = (host: string, path: string) =>
      sendRaw(plane.port, `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${upgrade}`)
    expect(await send('site.default.localhost', '/socket')).toMatch(/^HTTP\/1\.1 101 /)
    expect(await send('localhost', '/v1/status')).toMatch(/^HTTP\/1\.1 501 [^]*"code":"upgrade-unsupported"/)
    expect(await send('absent.default.localhost', '/')).toMatch(/^HTTP\/1\.1 404 /)
  })

  test('with a body that breaks its framing is answered at once, in the middle of the call', async () => {
    const head = 'POST / HTTP/1.1\r\nHost: site.default.localhost\r\nTransfer-Encoding: chunked\r\n\r\n'
    expect(await sendRaw(plane.port, `${head}3\r\nabc\r\nno size\r\n`)).toMatch(
      /^HTTP\/1\.1 400 [^]*"code":"request-malformed"/,
    )
  })

  test.each([
    ['with a body', '', 'Content-Length: 2\r\n'],
    ['with a chunked body', '', 'Transfer-Encoding: chunked\r\n'],
    [
      'behind a request that is not answered yet',
      'POST / HTTP/1.1\r\nHost: site.default.localhost\r\nContent-Length: 2\r\n\r\nhi',
      '',
    ],
  ])('does not switch protocols %s', async (_title, before, field) => {
    const upgrade = `GET /socket HTTP/1.1\r\nHost: site.default.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${field}\r\n`
    const answer = await sendRaw(plane.port, before + upgrade)
    expect(answer).not.toContain('HTTP/1.1 101')
    expect(answer.slice(answer.lastIndexOf('HTTP/1.1'))).toMatch(/^HTTP\/1\.1 400 [^]*"code":"request-malformed"/)
  })
})

describe('the gateway refuses what two parsers could read in two ways', () => {
  const GET = 'GET /healthz HTTP/1.1\r\n'
  const POST = 'POST /web/default/site/ HTTP/1.1\r\nHost: localhost\r\n'
  const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: site.default.localhost\r\n\r\n'
  beforeAll(() => deploy('site', { settings: { type: 'web' } }))

  test.each([
    ['two Hosts', `${GET}Host: localhost\r\nHost: evil\r\n\r\n`, 400],
    ['two equal Hosts', `${GET}Host: localhost\r\nHost: localhost\r\n\r\n`, 400],
    ['no Host', `${GET}\r\n`, 400],
    ['an empty Host', `${GET}Host:\r\n\r\n`, 400],
    ['a Host with a user', `${GET}Host: a@localhost\r\n\r\n`, 400],
    ['a Host with a path', `${GET}Host: localhost/x\r\n\r\n`, 400],
    ['a Host list', `${GET}Host: localhost, evil\r\n\r\n`, 400],
    ['absolute-form for another host', 'GET http://evil/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n', 400],
    ['a fragment', 'GET /healthz#x HTTP/1.1\r\nHost: localhost\r\n\r\n', 400],
    ['a backslash in the path', 'GET /web\\default HTTP/1.1\r\nHost: localhost\r\n\r\n', 400],
    ['asterisk-form of another method', 'GET * HTTP/1.1\r\nHost: localhost\r\n\r\n', 400],
    ['TE: gzip, chunked', `${POST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`, 501],
    ['TE: chunked twice', `${POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
    ['TE: chunked, identity', `${POST}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`, 400],
    ['TE: xchunked', `${POST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`, 400],
    ['TE and Content-Length', `${POST}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
    ['two lengths', `${POST}Content-Length: 1\r\nContent-Length: 1\r\n\r\na`, 400],
    ['a signed length', `${POST}Content-Length: +1\r\n\r\na`, 400],
    ['a length list', `${POST}Content-Length: 1, 1\r\n\r\na`, 400],
    [
      'HTTP/1.0 with Transfer-Encoding',
      'POST / HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
    ],
    ['a blank before the colon', `${GET}Host : localhost\r\n\r\n`, 400],
    ['a folded field', `${GET}Host: localhost\r\nX: a\r\n b\r\n\r\n`, 400],
    ['a control character in a field', `${GET}Host: localhost\r\nX: a\x01b\r\n\r\n`, 400],
    ['a bare LF', 'GET /healthz HTTP/1.1\nHost: localhost\n\n', 400],
    ['NUL in a field', `${GET}Host: localhost\r\nX: a\0b\r\n\r\n`, 400],
    ['CONNECT', 'CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n', 405],
    ['TRACE', 'TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n', 405],
    ['HTTP/2.0 on this wire', 'GET / HTTP/2.0\r\nHost: localhost\r\n\r\n', 505],
    ['no HTTP', 'HELLO\r\n\r\n', 400],
  ])('%s', async (_title, bytes, status) => {
    const before = plane.runtime.webPaths.length
    const answer = await sendRaw(plane.port, bytes + smuggled)
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
    expect(answer).toMatch(/connection: close/i)
    expect(answer.match(/^HTTP\/1\.1 /gm)).toHaveLength(1)
    expect(plane.runtime.webPaths.slice(before)).toEqual([])
  })

  test.each([
    [
      'absolute-form for the same host',
      'GET http://localhost/healthz HTTP/1.1\r\nHost: LOCALHOST\r\nConnection: close\r\n\r\n',
    ],
    ['HTTP/1.0', 'GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n'],
    ['obs-text in a field', `${GET}Host: localhost\r\nX: \xe9\r\nConnection: close\r\n\r\n`],
    [
      'Chunked in capitals',
      `${GET}Host: localhost\r\nTransfer-Encoding: CHUNKED\r\nConnection: close\r\n\r\n0\r\n\r\n`,
    ],
    [
      'an upgrade to h2c, which is not taken',
      `${GET}Host: localhost\r\nConnection: upgrade, close\r\nUpgrade: h2c\r\n\r\n`,
    ],
  ])('but serves %s', async (_title, bytes) => {
    expect(await sendRaw(plane.port, bytes)).toMatch(/^HTTP\/1\.1 200 /)
  })

  test('a refusal behind a slow call does not overtake its answer', async () => {
    await deploy('echo')
    const { promise, resolve } = Promise.withResolvers<void>()
    plane.runtime.gate = promise
    const call =
      `POST ${FUNCTIONS}/echo/invocations HTTP/1.1\r\nHost: localhost\r\n` +
      `Authorization: Bearer ${TOKEN}\r\nContent-Length: 1\r\n\r\n7`
    const answers = Promise.all([sendRaw(plane.port, `${call}BAD\r\n\r\n`), sendRaw(plane.port, `${call}${GET}\r\n`)])
    await sleep(100)
    resolve()
    plane.runtime.gate = Promise.resolve()
    for (const answer of await answers) expect(answer).toMatch(/^HTTP\/1\.1 200 [^]*HTTP\/1\.1 400 /)
  })
})

describe('the rest of the API', () => {
  test('lists, shows, and refuses to delete a namespace in use', async () => {
    await plane.request('PUT', '/v1/namespaces/team', {})
    await plane.request('PUT', '/v1/namespaces/team/functions/f', { image: 'team/f' })
    expect(await problem(await plane.request('DELETE', '/v1/namespaces/team'))).toMatchObject({
      code: 'namespace-in-use',
    })
    await plane.request('DELETE', '/v1/namespaces/team/functions/f')
    expect((await plane.request('DELETE', '/v1/namespaces/team')).status).toBe(200)
    const { namespaces } = (await (await plane.request('GET', '/v1/namespaces')).json()) as {
      namespaces: { name: string }[]
    }
    expect(namespaces.map(({ name }) => name)).not.toContain('team')
  })

  test('streams log lines, and ends the reader when the caller leaves', async () => {
    await deploy('talker')
    const once = await plane.request('GET', `${FUNCTIONS}/talker/logs?sinceMs=5`)
    expect(once.headers.get('content-type')).toMatch(/^application\/x-ndjson/)
    expect(await once.text()).toBe(
      '{"time":"2026-01-01T00:00:00.000Z","stream":"stdout","instance":"a","requestId":null,"line":"first"}\n',
    )
    const followed = await plane.request('GET', `${FUNCTIONS}/talker/logs?follow=true`)
    const reader = followed.body?.getReader()
    await reader?.read()
    expect(plane.logQueries.at(-1)).toMatchObject({ function: 'talker', follow: true })
    await reader?.cancel()
    await expect.poll(() => plane.logQueries.at(-1)?.signal.aborted).toBe(true)
  })

  test('lists and stops instances', async () => {
    await deploy('echo')
    const view = {
      id: '0123456789abcdef',
      version: '$LATEST',
      state: 'ready',
      ageMs: 1,
      memoryBytes: 2,
      calls: 3,
      reason: 'call',
    } as const
    plane.runtime.instanceViews = [view]
    expect(await (await plane.request('GET', `${FUNCTIONS}/echo/instances`)).json()).toEqual({ instances: [view] })
    const absent = await plane.request('DELETE', `${FUNCTIONS}/echo/instances/ffffffffffffffff`)
    expect(await problem(absent)).toMatchObject({ status: 404, code: 'instance-not-found' })
    expect(await (await plane.request('DELETE', `${FUNCTIONS}/echo/instances`)).json()).toEqual({ stopped: 1 })
  })

  test('gives push credentials and keeps registry users', async () => {
    const credential = await (await plane.request('POST', '/v1/namespaces/default/registry-credentials')).json()
    expect(credential).toMatchObject({ registry: '127.0.0.1:5000', repositories: 'default/*', username: 'push' })
    const user = { username: 'ci', allow: ['pull,push:default/*'] }
    expect(await (await plane.request('POST', '/v1/registry/users', user)).json()).toEqual({
      username: 'ci',
      password: 'shown-once',
    })
    expect((await plane.request('POST', '/v1/registry/users', user)).status).toBe(409)
    expect(await (await plane.request('GET', '/v1/registry/users')).json()).toEqual({ users: [user] })
    expect((await plane.request('DELETE', '/v1/registry/users/ci')).status).toBe(200)
    expect((await plane.request('DELETE', '/v1/registry/users/ci')).status).toBe(404)
  })

  test('says what is wrong with a body: its type, its size, its JSON', async () => {
    const put = (body: string, type: string) =>
      fetch(`${plane.url}${FUNCTIONS}/f`, {
        method: 'PUT',
        body,
        headers: { authorization: `Bearer ${TOKEN}`, 'content-type': type },
      })
    expect(await problem(await put('{}', 'text/plain'))).toMatchObject({ status: 415, code: 'body-type' })
    expect(await problem(await put('{', 'application/json'))).toMatchObject({ status: 400, code: 'request-invalid' })
    const large = JSON.stringify({ image: 'x'.repeat(2 * 1024 * 1024) })
    expect(await problem(await put(large, 'application/json'))).toMatchObject({ status: 413, code: 'body-too-large' })
    expect(await problem(await plane.request('GET', '/v2/'))).toMatchObject({ status: 404, code: 'route-not-found' })
  })

  test('shows the platform’s state', async () => {
    expect(await (await plane.request('GET', '/v1/status')).json()).toMatchObject({
      version: '0.0.0-test',
      ready: true,
      engine: 'scripted',
      processes: [{ role: 'server', pid: process.pid }],
    })
  })
})
