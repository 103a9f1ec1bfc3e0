import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type Credential,
  firstOf,
  RegistryUsers,
  registryConfig,
  SigningKeys,
  TemporaryCredentials,
  TokenServer,
  tokenHandler,
  type UserRecord,
  type UserStore,
  waitForRegistry,
} from '../../registry-auth/index.ts'
import { type RegistryProcess, startRegistryProcess } from './registry-process.ts'

/** A real docker-registry that takes tokens of a real token server, both on free ports of 127.0.0.1. */
export interface TokenRegistry {
  /** `127.0.0.1:PORT` */
  host: string
  /** May do everything. */
  admin: Extract<Credential, { kind: 'basic' }>
  users: RegistryUsers
  temporary: TemporaryCredentials
  keys: SigningKeys
  /** Where tokens are got: `http://127.0.0.1:PORT/token`. */
  realm: string
  /** Each request that the token server got, with its status: `GET 200 repository:a/b:pull`. */
  tokenRequests: string[]
  stop(): Promise<void>
}

const SERVICE = 'slipway-registry'
const ISSUER = 'slipway'

/** `temporary`: credentials that the token server takes beside those of users; default its own. `program`: another registry than Debian's. */
export async function startTokenRegistry(
  temporary = new TemporaryCredentials(),
  program?: string,
): Promise<TokenRegistry> {
  const home = mkdtempSync(join(tmpdir(), 'slipway-token-registry-'))
  chmodSync(home, 0o755)
  const keys = SigningKeys.open(join(home, 'keys'))
  const users = new RegistryUsers(memoryUsers())
  const authenticator = firstOf(temporary, users)
  const tokenServer = new TokenServer({
    service: SERVICE,
    issuer: ISSUER,
    keys,
    authenticator,
    refreshTokens: users,
    anonymous: () => users.anonymous(),
  })
  const { realm, tokenRequests, stopTokens } = await serveTokens(tokenServer)
  const registry = await startRegistry(home, keys, realm, program)
  const password = await users.add('admin', ['pull,push,delete:*'])
  return {
    host: registry.host,
    admin: { kind: 'basic', username: 'admin', password },
    users,
    temporary,
    keys,
    realm,
    tokenRequests,
    stop: async () => {
      await registry.stop()
      await stopTokens()
      rmSync(home, { recursive: true, force: true })
    },
  }
}

async function serveTokens(tokenServer: TokenServer) {
  const tokenRequests: string[] = []
  const handle = tokenHandler(tokenServer)
  const server = createServer((request, response) => {
    response.once('close', () => {
      const scopes = new URL(request.url ?? '/', 'http://x').searchParams.getAll('scope').join(' ')
      tokenRequests.push(`${request.method} ${response.statusCode} ${scopes}`.trim())
    })
    handle(request, response).catch((thrown: unknown) => response.destroy(thrown instanceof Error ? thrown : undefined))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const stopTokens = async (): Promise<void> => {
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  }
  return { realm: `http://127.0.0.1:${port}/token`, tokenRequests, stopTokens }
}

async function startRegistry(
  home: string,
  keys: SigningKeys,
  realm: string,
  program?: string,
): Promise<RegistryProcess> {
  const caFile = join(home, 'ca.pem')
  writeFileSync(caFile, keys.caCertificatePem)
  const config = registryConfig({
    address: '127.0.0.1',
    port: 0,
    storageDirectory: join(home, 'data'),
    realm,
    service: SERVICE,
    issuer: ISSUER,
    caFile,
    logLevel: 'info',
  })
  const registry = await startRegistryProcess(join(home, 'config.yml'), config, program)
  await waitForRegistry(registry.host, realm)
  return registry
}

function memoryUsers(): UserStore {
  const users = new Map<string, UserRecord>()
  return {
    get: (name) => users.get(name),
    list: () => [...users.values()],
    put: async (user) => void users.set(user.username, user),
    delete: async (name) => users.delete(name),
  }
}
