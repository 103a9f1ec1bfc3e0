import { lookup as systemLookup } from 'node:dns'
import type { LookupFunction } from 'node:net'
import { AppError } from '../common/index.ts'
import type { Reach } from './credential.ts'
import { refusedAddress } from './endpoint.ts'

/**
 * Resolves names for the connections of one registry's client and refuses those that lead where it may not go. The addresses that
 * were judged are the ones connected to: a name that changes its meaning in between (rebinding) gains nothing. One bad address
 * refuses the name: who mixes public and private ones is either mistaken or hostile.
 */
export function guardedLookup(
  registry: string,
  origin: URL,
  reach: Reach,
  resolve: LookupFunction = systemLookup,
): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, found) => {
      if (error !== null) return callback(error, [])
      const addresses = Array.isArray(found) ? found : [{ address: found, family: 4 }]
      const why = addresses
        .map(({ address }) => refusedAddress(origin, hostname, address, reach))
        .find((reason) => reason !== undefined)
      if (why !== undefined) return callback(addressRefused(registry, hostname, why), [])
      const [first] = addresses
      if (options.all === true || first === undefined) return callback(null, addresses)
      return callback(null, first.address, first.family)
    })
  }
}

/** `where` is a name or an address without secrets in its query. */
export function addressRefused(registry: string, where: string, why: string): AppError {
  const hint =
    'if this registry is meant to do so, say it in its entry: ' +
    `slipway registry add ${registry} with --realm, --allow-private or --plain-http`
  return new AppError(`${registry} leads to ${where}, which is refused: ${why}`, {
    code: 'registry-address-refused',
    fault: 'dependency',
    hint,
    details: { registry },
  })
}
