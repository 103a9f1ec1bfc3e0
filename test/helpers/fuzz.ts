// How long fuzzing goes on. By default a fixed seed and a few seconds, so that a run says the same as the one before; with
// FUZZ_FACTOR=50 fifty times as many cases, and a seed of their own each time unless FUZZ_SEED names one. What is found is kept as a fixed case.

const DEFAULT_SEED = 20_261_121

const factor = Number(process.env['FUZZ_FACTOR'] ?? 1)

/** Cases of one property: `runs` of them in a default run. */
export function fuzzRuns(runs: number): number {
  return Math.ceil(runs * factor)
}

/** Printed with every failure. */
export function fuzzSeed(): number {
  const given = process.env['FUZZ_SEED']
  if (given !== undefined) return Number(given)
  return factor === 1 ? DEFAULT_SEED : Date.now() % 2 ** 31
}

/** Patience of a test that fuzzes: machines are shared. */
export const FUZZ_TIMEOUT_MS = 60_000 * Math.max(1, factor)

/** For `fc.assert`: a failure prints the seed and the smallest case that fails. */
export function fuzz(runs: number): { seed: number; numRuns: number } {
  return { seed: fuzzSeed(), numRuns: fuzzRuns(runs) }
}
