import type { Named } from './algorithms.ts'
import { claimsOf, ecdsa, type Good, headerOf, type Json, jws } from './forge.ts'

/** Signed with our own key: only what is claimed is wrong. */
export function badClaims(good: Good): Named[] {
  const header = headerOf(good)
  const claims = claimsOf(good)
  const now = Math.floor(Date.now() / 1_000)
  const { repository } = good
  const own = ecdsa(good.key.privateKey)
  const signed = (payload: Json): string => jws(header, payload, own)
  const access = (...list: Json[]): Record<string, Json> => ({ access: list })
  const wrong: Record<string, Json>[] = [
    { iss: 'other' },
    { iss: '' },
    { iss: null },
    { iss: 5 },
    { iss: [good.issuer] },
    { iss: good.issuer.toUpperCase() },
    { iss: `${good.issuer} ` },
    { iss: `https://${good.issuer}` },
    { aud: 'other' },
    { aud: '' },
    { aud: null },
    { aud: 5 },
    { aud: [] },
    { aud: ['other'] },
    { aud: good.service.toUpperCase() },
    { aud: good.service.slice(1) },
    { aud: `${good.service} ` },
    { aud: { a: good.service } },
    { exp: now - 120 },
    { exp: 0 },
    { exp: -1 },
    { exp: null },
    { exp: `${now + 600}` },
    { exp: false },
    { exp: [] },
    { exp: '9'.repeat(30) },
    { nbf: now + 120 },
    { nbf: now + 10 ** 9 },
    { nbf: `${now}` },
    { access: null },
    { access: [] },
    { access: 'repository' },
    { access: {} },
    { access: 5 },
    { access: [null] },
    { access: ['x'] },
    access({ type: 'repository', name: 'other/repository', actions: ['pull'] }),
    access({ type: 'repository', name: repository, actions: ['push'] }),
    access({ type: 'repository', name: repository, actions: [] }),
    access({ type: 'repository', name: repository, actions: 'pull' }),
    access({ type: 'repository', name: repository, actions: ['PULL'] }),
    access({ type: 'repository', name: repository, actions: null }),
    access({ type: 'Repository', name: repository, actions: ['pull'] }),
    access({ type: 'registry', name: 'catalog', actions: ['*'] }),
    access({ type: 'repository', name: `${repository}/`, actions: ['pull'] }),
    access({ type: 'repository', name: '*', actions: ['pull'] }),
    access({ type: '*', name: '*', actions: ['*'] }),
    access({ type: 'repository', name: `${repository}*`, actions: ['pull'] }),
    access({ name: repository, actions: ['pull'] }),
    access({ type: 'repository', actions: ['pull'] }),
    access({ type: 'repository', name: [repository], actions: ['pull'] }),
    access({ type: 'repository', name: repository.toUpperCase(), actions: ['pull'] }),
    access({ type: 'repository', name: repository.split('/')[0], actions: ['pull'] }),
    access({ type: 'repository', name: `${repository}\0`, actions: ['pull'] }),
  ]
  const lacking = ['iss', 'aud', 'exp', 'access'].map((name): Named => {
    const { [name]: _, ...rest } = claims
    return [`without ${name}`, signed(rest)]
  })
  const odd: [string, Json][] = [
    ['null', null],
    ['a list', [claims]],
    ['a text', '"text"'],
    ['a number', '5'],
    ['nothing', ''],
    ['no JSON', '{"iss":'],
    ['JSON with more behind it', `${JSON.stringify(claims)}{}`],
    ['JSON behind a mark of byte order', `\ufeff${JSON.stringify(claims)}`],
  ]
  return [
    ...wrong.map((over): Named => [`claims ${JSON.stringify(over).slice(0, 90)}`, signed({ ...claims, ...over })]),
    ...lacking,
    ...odd.map(([what, payload]): Named => [`claims that are ${what}`, signed(payload)]),
  ]
}
