import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { registryCommand, registryConfig, waitForRegistry } from '../../../registry-auth/index.ts'

const settings = {
  address: '127.0.0.1',
  port: 5000,
  storageDirectory: '/data: #x/registry',
  realm: 'http://127.0.0.1:8080/token?a=1&b="2"',
  service: 'registry',
  issuer: 'slipway',
  caFile: '/data/ca.pem',
}

describe('the configuration of the local registry', () => {
  it('has token authentication, deletion, relative locations and no access log', () => {
    expect(parse(registryConfig(settings))).toMatchObject({
      log: { level: 'warn', accesslog: { disabled: true } },
      storage: {
        filesystem: { rootdirectory: settings.storageDirectory },
        delete: { enabled: true },
        maintenance: { readonly: { enabled: false } },
      },
      http: { addr: '127.0.0.1:5000', relativeurls: true },
      auth: {
        token: { realm: settings.realm, service: 'registry', issuer: 'slipway', rootcertbundle: '/data/ca.pem' },
      },
    })
  })

  it('may be read-only, and on an IPv6 address', () => {
    const config: unknown = parse(registryConfig({ ...settings, address: '::1', readOnly: true }))
    expect(config).toMatchObject({
      storage: { maintenance: { readonly: { enabled: true } } },
      http: { addr: '[::1]:5000' },
    })
  })

  it('is served by docker-registry', () => {
    expect(registryCommand('/x/config.yml')).toEqual({ file: 'docker-registry', args: ['serve', '/x/config.yml'] })
  })
})

describe('waiting for the registry', () => {
  it('does not take another program on its port for it', async () => {
    const server = createServer((_request, response) =>
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end(),
    )
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    try {
      await expect(waitForRegistry(`127.0.0.1:${port}`, settings.realm, { timeoutMs: 200 })).rejects.toMatchObject({
        code: 'registry-not-ready',
        message: `the registry at 127.0.0.1:${port} did not answer within 200 ms; last seen: another program that answers 401`,
      })
    } finally {
      server.close()
    }
  })

  it('ends with the reason of its signal', async () => {
    const stopped = waitForRegistry('127.0.0.1:1', settings.realm, { signal: AbortSignal.abort(new Error('stop')) })
    await expect(stopped).rejects.toThrow('stop')
  })
})
