import { isIP } from 'node:net'
import { AppError } from '../common/index.ts'

/** Host names and addresses that never leave this machine: the only ones spoken to over plain HTTP. */
export function isLoopback(hostname: string): boolean {
  const bare = hostname.replace(/^\[|\]$/g, '').toLowerCase()
  if (bare === 'localhost' || bare === '::1') return true
  return isIP(bare) === 4 && bare.startsWith('127.')
}

/** Where a registry answers: `127.0.0.1:5000` is `http://127.0.0.1:5000`, every host that is not loopback is https. */
export function registryOrigin(registry: string): URL {
  const https = parse(`https://${registry}`, registry)
  return isLoopback(https.hostname) ? parse(`http://${registry}`, registry) : https
}

function parse(text: string, registry: string): URL {
  if (!URL.canParse(text)) {
    throw new AppError(`registry "${registry.slice(0, 300)}" is no host name`, {
      code: 'reference-invalid',
      fault: 'user',
      hint: 'write HOST or HOST:PORT',
    })
  }
  return new URL(text)
}

/**
 * Whether a client of the registry at `origin` may be sent on to `target` (a redirect, an upload location, a token realm):
 * https anywhere that is not an address of a private network, plain HTTP and private addresses only from loopback to
 * loopback or to the registry itself. Answers the reason of a refusal, or undefined.
 * Names that resolve to private addresses are not looked at here.
 */
export function refusedDestination(origin: URL, target: URL): string | undefined {
  if (target.username !== '' || target.password !== '') return 'the address carries a user name'
  if (target.origin === origin.origin) return undefined
  const local = isLoopback(origin.hostname)
  if (isLoopback(target.hostname)) return local ? undefined : 'it leads to the loopback of this machine'
  if (target.protocol !== 'https:') return 'it leads to an address without https'
  if (!local && isPrivateAddress(target.hostname)) return 'it leads to an address of a private network'
  return undefined
}

/** Addresses of RFC 1918, RFC 6598, RFC 3927, RFC 4193, RFC 4291 and their IPv4-mapped forms, as a URL prints them. */
function isPrivateAddress(hostname: string): boolean {
  const bare = hostname.replace(/^\[|\]$/g, '').toLowerCase()
  if (isIP(bare) === 6) return /^(?:f[cd]|fe[89ab]|::)/.test(bare)
  if (isIP(bare) !== 4) return false
  const [a = 0, b = 0] = bare.split('.').map(Number)
  if (a === 0 || a === 10 || a >= 224) return true
  return (
    (a === 100 && b >= 64 && b < 128) ||
    (a === 169 && b === 254) ||
    (a === 172 && b >= 16 && b < 32) ||
    (a === 192 && b === 168)
  )
}

/** A URL for messages and logs: query values are replaced, since they carry signatures and tokens. */
export function redactUrl(url: URL): string {
  const names = [...new Set(url.searchParams.keys())].map((name) => `${name}=…`).join('&')
  return `${url.origin}${url.pathname}${names === '' ? '' : `?${names}`}`
}
