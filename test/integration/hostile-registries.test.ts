import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, LookupFunction } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Credential, digestOf, type Exchange, MEDIA, type Reach, RegistryClient } from '../../oci/index.ts'

const SECRET = 'canary-of-hostile-registries'
const MANIFEST = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA.ociManifest,
    config: { mediaType: MEDIA.ociConfig, digest: digestOf(Buffer.from('{}')), size: 2 },
    layers: [],
  }),
)

/** A server that keeps every request it got, with its body, and answers as told. */
interface Recorder {
  port: number
  requests: { line: string; authorization: string | undefined; body: string }[]
  answer: (request: IncomingMessage, response: ServerResponse) => void
  close(): Promise<void>
}

async function startRecorder(): Promise<Recorder> {
  const recorder: Recorder = { port: 0, requests: [], answer: (_, response) => response.writeHead(404).end(), close }
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => void chunks.push(chunk))
    request.on('end', () => {
      const { authorization } = request.headers
      const body = Buffer.concat(chunks).toString('utf8')
      recorder.requests.push({ line: `${request.method} ${request.url}`, authorization, body })
      recorder.answer(request, response)
    })
  })
  async function close(): Promise<void> {
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  recorder.port = (server.address() as AddressInfo).port
  return recorder
}

/** Every name leads to this machine. */
const here: LookupFunction = (_name, _options, callback) => callback(null, [{ address: '127.0.0.1', family: 4 }])

let registry: Recorder
let other: Recorder
let client: RegistryClient | undefined
let exchanges: Exchange[]
beforeEach(async () => {
  exchanges = []
  registry = await startRecorder()
  other = await startRecorder()
})
afterEach(async () => {
  await client?.close()
  await registry.close()
  await other.close()
})

function pull(
  host: string,
  reach?: Reach,
  credential: Credential = { kind: 'basic', username: 'u', password: SECRET },
) {
  client = new RegistryClient({
    registry: `${host}:${registry.port}`,
    credential: { ...credential, ...(reach === undefined ? {} : { reach }) },
    signal: AbortSignal.timeout(10_000),
    lookup: here,
    onExchange: (exchange) => void exchanges.push(exchange),
  })
  return client.resolve({ repository: 'a/b', tag: 'v1' })
}

const bearer = (realm: string) => (request: IncomingMessage, response: ServerResponse) => {
  if (request.headers.authorization?.startsWith('Bearer ') === true) sendManifest(response)
  else
    response
      .writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",service="s",scope="repository:a/b:pull"` })
      .end()
}
const sendManifest = (response: ServerResponse) =>
  void response.writeHead(200, { 'content-type': MEDIA.ociManifest }).end(MANIFEST)
const sendToken = (_: IncomingMessage, response: ServerResponse) =>
  void response.writeHead(200).end(JSON.stringify({ token: 'given', expires_in: 300 }))
const refusal = (why: string) => ({ code: 'registry-address-refused', message: expect.stringContaining(why) })
const leaked = () => [...other.requests, ...registry.requests].filter((seen) => JSON.stringify(seen).includes(SECRET))

const OWN: Reach = { plainHttp: true, allowPrivate: true }

describe('a hostile registry gets nothing', () => {
  it('by a token server on another host', async () => {
    registry.answer = bearer(`http://attacker.test:${other.port}/token`)
    other.answer = sendToken
    await expect(pull('registry.test', OWN)).rejects.toMatchObject(refusal('without https'))
    registry.answer = bearer(`https://attacker.test:${other.port}/token`)
    await expect(pull('registry.test', OWN)).rejects.toMatchObject(refusal('it lies on another host'))
    await expect(pull('registry.test', { ...OWN, realm: 'https://auth.test' })).rejects.toMatchObject(
      refusal('it lies on another host'),
    )
    expect([other.requests, leaked()]).toEqual([[], []])
  })

  it('by a realm that asks for more than the request needs', async () => {
    registry.answer = bearer(`http://127.0.0.1:${other.port}/token?scope=repository:secret/other:pull,push`)
    await expect(pull('127.0.0.1')).rejects.toMatchObject(refusal('it brings its own scope'))
    expect(other.requests).toEqual([])
  })

  it('by a challenge that asks for more: the request’s own scope is what is asked for', async () => {
    registry.answer = (request, response) => {
      const realm = `http://127.0.0.1:${other.port}/token`
      const challenge = `Bearer realm="${realm}",scope="repository:a/b:pull,push,delete repository:secret/other:pull"`
      if (request.headers.authorization === 'Bearer given') sendManifest(response)
      else response.writeHead(401, { 'www-authenticate': challenge }).end()
    }
    other.answer = sendToken
    await pull('127.0.0.1')
    expect(other.requests.map(({ line }) => line)).toEqual(['GET /token?scope=repository%3Aa%2Fb%3Apull&account=u'])
  })

  it('by a token server that sends on', async () => {
    registry.answer = bearer(`http://127.0.0.1:${registry.port}/token`)
    const challenge = registry.answer
    registry.answer = (request, response) => {
      if (request.url?.startsWith('/token') !== true) challenge(request, response)
      else response.writeHead(307, { location: `http://127.0.0.1:${other.port}/steal` }).end()
    }
    await expect(pull('127.0.0.1')).rejects.toMatchObject({ code: 'registry-error' })
    expect(other.requests).toEqual([])
  })

  it.each([
    ['https://10.0.0.1/blob', 'an address of a private network'],
    ['https://169.254.169.254/latest/meta-data/', 'a link-local or reserved address'],
    ['https://[fe80::1]/x', 'a link-local or reserved address'],
    ['https://[::ffff:192.168.1.1]/x', 'an address of a private network'],
    ['http://storage.test/blob', 'without https'],
  ])('by a redirect to %s', async (location, why) => {
    registry.answer = (_, response) => response.writeHead(307, { location }).end()
    await expect(pull('127.0.0.1')).rejects.toMatchObject(refusal(why))
  })

  it('by a redirect to this machine, by name as by address', async () => {
    for (const host of ['127.0.0.1', 'localhost', 'rebound.test']) {
      registry.answer = (_, response) => response.writeHead(307, { location: `https://${host}:${other.port}/x` }).end()
      await expect(pull('registry.test', OWN)).rejects.toMatchObject(refusal('the loopback of this machine'))
    }
    expect([other.requests, leaked().filter(({ line }) => !line.startsWith('GET /v2/'))]).toEqual([[], []])
  })

  it('by a redirect of a request that carries its credential: that stays with the registry', async () => {
    other.answer = (_, response) => sendManifest(response)
    registry.answer = (request, response) => {
      const asked = request.headers.authorization === undefined
      if (asked) response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
      else response.writeHead(307, { location: `http://127.0.0.1:${other.port}/v2/elsewhere` }).end()
    }
    await pull('127.0.0.1')
    expect(other.requests).toEqual([{ line: 'GET /v2/elsewhere', authorization: undefined, body: '' }])
  })

  it('by a name that leads into this machine or its network, before a byte is sent', async () => {
    await expect(pull('rebound.test')).rejects.toMatchObject({
      ...refusal('127.0.0.1 is the loopback of this machine'),
      hint: expect.stringContaining('slipway registry add rebound.test'),
    })
    await expect(pull('rebound.test', { plainHttp: true })).rejects.toMatchObject(
      refusal('the loopback of this machine'),
    )
    expect(registry.requests).toEqual([])
  })
})

describe('what the registry’s entry says', () => {
  it('lets a credential go to the token server that it names, over plain HTTP where it says so', async () => {
    registry.answer = bearer(`http://auth.test:${other.port}/token`)
    other.answer = sendToken
    await pull('registry.test', { ...OWN, realm: `http://auth.test:${other.port}` })
    const secret = Buffer.from(`u:${SECRET}`).toString('base64')
    expect(other.requests).toMatchObject([{ authorization: `Basic ${secret}` }])
    expect(registry.requests.map(({ authorization }) => authorization)).toEqual([undefined, 'Bearer given'])
  })

  it('is needed for plain HTTP: otherwise the registry is spoken to by TLS only', async () => {
    await expect(pull('registry.test', { allowPrivate: true })).rejects.toMatchObject({ code: 'registry-unreachable' })
    expect(registry.requests).toEqual([])
  })
})

describe('a refresh token', () => {
  it('goes to the token server alone, as a form', async () => {
    registry.answer = bearer(`http://127.0.0.1:${other.port}/token`)
    other.answer = sendToken
    await pull('127.0.0.1', undefined, { kind: 'identity', token: SECRET })
    expect(other.requests).toEqual([
      {
        line: 'POST /token',
        authorization: undefined,
        body: `grant_type=refresh_token&client_id=slipway&refresh_token=${SECRET}&service=s&scope=repository%3Aa%2Fb%3Apull`,
      },
    ])
    expect(registry.requests.map(({ authorization }) => authorization)).toEqual([undefined, 'Bearer given'])
  })
})

it('each exchange is told, without a secret', async () => {
  registry.answer = bearer(`http://127.0.0.1:${other.port}/token`)
  other.answer = sendToken
  await pull('127.0.0.1')
  const realm = `http://127.0.0.1:${other.port}/token`
  const manifest = `GET http://127.0.0.1:${registry.port}/v2/a/b/manifests/v1`
  expect(exchanges).toEqual([
    {
      asked: manifest,
      authorization: 'none',
      status: 401,
      challenge: `bearer realm="${realm}" service="s" scope="repository:a/b:pull"`,
    },
    {
      asked: `GET ${realm}?service=s&scope=repository:a/b:pull&account=…`,
      authorization: 'basic',
      status: 200,
    },
    { asked: manifest, authorization: 'bearer', status: 200 },
  ])
})
