import type { Challenge } from './challenge.ts'

/** One request to a registry or its token server and what came back, for who wants to see how an access goes. No secret is in it. */
export interface Exchange {
  /** `GET https://r.example/v2/`; secrets in the query are replaced. */
  asked: string
  /** `basic`, `bearer` or `none`: how the request was authorised. */
  authorization: string
  status: number
  /** What the answer demands, `Bearer realm="…" scope="…"`; absent without a challenge. */
  challenge?: string
}

const SHOWN_PARAMETERS = ['realm', 'service', 'scope', 'error']

/** A challenge as people read it, at most 500 characters. */
export function describeChallenges(challenges: readonly Challenge[]): string {
  const texts = challenges.map(({ scheme, parameters }) => {
    const shown = SHOWN_PARAMETERS.filter((name) => parameters.has(name))
    return [scheme, ...shown.map((name) => `${name}="${parameters.get(name)}"`)].join(' ')
  })
  return texts
    .join(', ')
    .replace(/[\p{C}]+/gu, ' ')
    .slice(0, 500)
}
