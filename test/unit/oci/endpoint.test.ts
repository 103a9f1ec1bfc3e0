import { describe, expect, it } from 'vitest'
import { redactUrl, refusedDestination, refusedRealm, registryOrigin } from '../../../oci/endpoint.ts'
import type { Reach } from '../../../oci/index.ts'

describe('the address of a registry', () => {
  const origins: [string, string][] = [
    ['127.0.0.1:5000', 'http://127.0.0.1:5000'],
    ['127.9.8.7', 'http://127.9.8.7'],
    ['localhost:5000', 'http://localhost:5000'],
    ['[::1]:5000', 'http://[::1]:5000'],
    ['r.example', 'https://r.example'],
    ['127.0.0.1.example:5000', 'https://127.0.0.1.example:5000'],
    ['10.0.0.1:5000', 'https://10.0.0.1:5000'],
    ['localhost.example', 'https://localhost.example'],
    ['docker.io', 'https://registry-1.docker.io'],
    ['index.docker.io', 'https://registry-1.docker.io'],
  ]
  it.each(origins)('%s is spoken to as %s', (registry, origin) => {
    expect(registryOrigin(registry).origin).toBe(origin)
  })

  it('that is no host name is refused', () => {
    expect(() => registryOrigin('a b')).toThrow(expect.objectContaining({ code: 'reference-invalid' }))
  })
})

describe('where a registry may send its clients', () => {
  const allowed: [string, string][] = [
    ['r.example', 'https://storage.example/x'],
    ['r.example', 'https://r.example/v2/'],
    ['127.0.0.1:5000', 'http://127.0.0.1:6000/token'],
    ['127.0.0.1:5000', 'http://localhost:6000/token'],
    ['127.0.0.1:5000', 'https://r.example/token'],
    ['r.example', 'https://203.0.113.9/x'],
    ['r.example', 'https://[2001:db8::1]/x'],
  ]
  it.each(allowed)('%s may send to %s', (registry, target) => {
    expect(refusedDestination(registryOrigin(registry), new URL(target))).toBeUndefined()
  })

  const refused: [string, string][] = [
    ['r.example', 'http://r.example/token'],
    ['r.example', 'http://storage.example/x'],
    ['127.0.0.1:5000', 'http://r.example/token'],
    ['r.example', 'http://127.0.0.1/token'],
    ['r.example', 'https://localhost/token'],
    ['r.example', 'https://10.0.0.1/'],
    ['r.example', 'https://172.16.0.1/'],
    ['r.example', 'https://192.168.1.1/'],
    ['r.example', 'https://169.254.169.254/latest'],
    ['r.example', 'https://100.100.1.1/'],
    ['r.example', 'https://0x7f.1/'],
    ['r.example', 'https://[fd00::1]/'],
    ['r.example', 'https://[fe80::1]/'],
    ['r.example', 'https://[::ffff:10.0.0.1]/'],
    ['127.0.0.1:5000', 'https://10.0.0.1/'],
    ['10.1.2.3', 'https://10.1.2.3/token'],
    ['r.example', 'https://[::ffff:7f00:1]/'],
    ['r.example', 'https://[64:ff9b::a00:1]/'],
    ['r.example', 'https://[2002:a00:1::]/'],
    ['r.example', 'https://0.0.0.0/'],
    ['r.example', 'https://user:password@storage.example/'],
    ['r.example', 'ftp://storage.example/'],
  ]
  it.each(refused)('%s may not send to %s', (registry, target) => {
    expect(refusedDestination(registryOrigin(registry), new URL(target))).toEqual(expect.any(String))
  })
})

describe('what the entry of a registry allows', () => {
  const cases: [string, Reach, string, boolean][] = [
    ['10.1.2.3', { allowPrivate: true }, 'https://10.1.2.3/v2/', true],
    ['r.example', { allowPrivate: true }, 'https://10.1.2.3/blob', true],
    ['r.example', { allowPrivate: true }, 'https://[fd00::1]/blob', true],
    ['r.example', { allowPrivate: true }, 'https://169.254.169.254/latest', false],
    ['r.example', { allowPrivate: true }, 'https://[fe80::1]/x', false],
    ['r.example', { allowPrivate: true }, 'https://127.0.0.1/x', false],
    ['r.example', { allowPrivate: true }, 'http://10.1.2.3/blob', false],
    ['r.example', { plainHttp: true }, 'http://r.example/v2/', true],
    ['r.example', { plainHttp: true }, 'http://other.example/blob', false],
    ['r.example', { realm: 'https://10.0.0.1' }, 'https://10.0.0.1/', false],
  ]
  it.each(cases)('%s with %j may send to %s: %s', (registry, reach, target, allowed) => {
    const why = refusedDestination(registryOrigin(registry, reach), new URL(target), reach)
    expect(why === undefined).toBe(allowed)
  })
})

describe('the token server of a registry', () => {
  const cases: [string, string, Reach, string | undefined][] = [
    ['r.example', 'https://r.example/token', {}, undefined],
    ['r.example', 'https://r.example:8443/token', {}, undefined],
    ['127.0.0.1:5000', 'http://127.0.0.1:8080/token', {}, undefined],
    ['docker.io', 'https://auth.docker.io/token', {}, undefined],
    ['registry.gitlab.com', 'https://gitlab.com/jwt/auth', {}, undefined],
    ['r.example', 'https://auth.r.example/token', { realm: 'https://auth.r.example' }, undefined],
    ['r.lan', 'http://auth.lan/token', { realm: 'http://auth.lan', plainHttp: true }, undefined],
    ['r.lan', 'https://10.0.0.7/token', { realm: 'https://10.0.0.7', allowPrivate: true }, undefined],
    ['r.example', 'https://auth.r.example/token', {}, 'it lies on another host'],
    ['r.example', 'https://auth.docker.io/token', {}, 'it lies on another host'],
    ['docker.io.r.example', 'https://auth.docker.io/token', {}, 'it lies on another host'],
    ['r.example', 'https://auth.r.example:8443/token', { realm: 'https://auth.r.example' }, 'it lies on another host'],
    ['127.0.0.1:5000', 'https://r.example/token', {}, 'it lies on another host'],
    ['r.example', 'http://r.example/token', {}, 'it leads to an address without https'],
    ['r.lan', 'http://auth.lan/token', { realm: 'http://auth.lan' }, 'it leads to an address without https'],
    ['r.lan', 'https://10.0.0.7/token', { realm: 'https://10.0.0.7' }, '10.0.0.7 is an address of a private network'],
    ['r.example', 'https://r.example/token?scope=repository:other:push', {}, 'it brings its own scope'],
    ['r.example', 'https://r.example/token?account=root', {}, 'it brings its own account'],
  ]
  it.each(cases)('%s at %s with %j: %s', (registry, realm, reach, why) => {
    expect(refusedRealm(registryOrigin(registry, reach), new URL(realm), reach)).toBe(why)
  })
})

it('an address in a message shows no value of its query but what is asked for', () => {
  const url = new URL('https://s.example/blob?X-Signature=secret&X-Key=k&X-Key=l&scope=repository:a:pull')
  expect(redactUrl(url)).toBe('https://s.example/blob?X-Signature=…&X-Key=…&scope=repository:a:pull')
})
