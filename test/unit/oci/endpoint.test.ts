import { describe, expect, it } from 'vitest'
import { redactUrl, refusedDestination, registryOrigin } from '../../../oci/endpoint.ts'

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
    ['10.1.2.3', 'https://10.1.2.3/token'],
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
    ['r.example', 'https://user:password@storage.example/'],
    ['r.example', 'ftp://storage.example/'],
  ]
  it.each(refused)('%s may not send to %s', (registry, target) => {
    expect(refusedDestination(registryOrigin(registry), new URL(target))).toEqual(expect.any(String))
  })
})

it('an address in a message shows no value of its query', () => {
  const url = new URL('https://s.example/blob?X-Signature=secret&X-Key=k&X-Key=l')
  expect(redactUrl(url)).toBe('https://s.example/blob?X-Signature=…&X-Key=…')
})
