import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { LOCAL_REGISTRY_NAMES, SigningKeys } from '../../registry-auth/index.ts'
import { badTokens, type Good, goodToken } from '../corpus/jwt/index.ts'
import { type RunningControlPlane, startControlPlane } from '../helpers/control-plane.ts'
import { requireProgram } from '../helpers/programs.ts'
import { startTokenRegistry, type TokenRegistry } from '../helpers/token-registry.ts'

const REPOSITORY = 'default/hello'
const AT_ONCE = 16
/** docker-registry 2.8 panics on this claim and closes the connection; only who holds our key could make it do so. */
const PANICS = 'claims {"access":[null]}'

function goodOf(keys: SigningKeys): Good {
  const { issuer, service } = LOCAL_REGISTRY_NAMES
  return { key: keys.current(Date.now()), caPem: keys.caCertificatePem, issuer, service, repository: REPOSITORY }
}

/** The status that each token got; 0 where the connection was closed instead. */
async function statuses(tokens: readonly string[], url: string): Promise<number[]> {
  const found: number[] = []
  const queue = tokens.entries()
  const worker = async (): Promise<void> => {
    for (const [at, token] of queue) found[at] = await statusOf(url, token)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  return found
}

async function statusOf(url: string, token: string): Promise<number> {
  try {
    const headers = { authorization: `Bearer ${token}` }
    const response = await fetch(url, { headers, signal: AbortSignal.timeout(10_000) })
    await response.arrayBuffer()
    return response.status
  } catch {
    return 0
  }
}

const isRefused = (name: string, status?: number): boolean => status === (name === PANICS ? 0 : 401)

describe.skipIf(!requireProgram('docker-registry', 'setpriv'))('more than two hundred bad tokens', () => {
  let registry: TokenRegistry
  let plane: RunningControlPlane
  let named: [string, string][]
  beforeAll(async () => {
    registry = await startTokenRegistry()
    plane = await startControlPlane()
    named = badTokens(goodOf(registry.keys))
  })
  afterAll(async () => {
    await registry?.stop()
    await plane?.close()
  })

  it('differ from a good one, which the registry takes, each in a way of its own', async () => {
    expect(named.length).toBeGreaterThan(200)
    expect(new Set(named.map(([name]) => name)).size).toBe(named.length)
    const url = `http://${registry.host}/v2/${REPOSITORY}/manifests/latest`
    expect(await statusOf(url, goodToken(goodOf(registry.keys)))).toBe(404)
  })

  it('are refused by the registry as we configure it', async () => {
    const url = `http://${registry.host}/v2/${REPOSITORY}/manifests/latest`
    const found = await statuses(
      named.map(([, token]) => token),
      url,
    )
    expect(named.flatMap(([name], at) => (isRefused(name, found[at]) ? [] : [`${name}: ${found[at]}`]))).toEqual([])
    expect(await statusOf(url, goodToken(goodOf(registry.keys)))).toBe(404)
  })

  it('are refused by our own API, and so is a good token of the registry', async () => {
    const tokens = [...named, ['a good token of the registry', goodToken(goodOf(registry.keys))] as const]
    const found = await statuses(
      tokens.map(([, token]) => token),
      `${plane.url}/v1/namespaces`,
    )
    expect(tokens.flatMap(([name], at) => (found[at] === 401 ? [] : [`${name}: ${found[at]}`]))).toEqual([])
  })
})
