import { badAlgorithms, type Named } from './algorithms.ts'
import { badClaims } from './claims.ts'
import { badEncodings } from './encodings.ts'
import type { Good } from './forge.ts'
import { badKeys } from './keys.ts'

export { type Good, goodToken } from './forge.ts'

/** Tokens that look like those of our token server and must be refused, each with what is wrong with it. */
export function badTokens(good: Good): Named[] {
  return [...badAlgorithms(good), ...badKeys(good), ...badClaims(good), ...badEncodings(good)]
}
