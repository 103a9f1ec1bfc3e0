import { existsSync, openSync, readdirSync, unlinkSync } from 'node:fs'
import { basename, dirname } from 'node:path'

/** Opens output file number `rotated` of those that `path` is the newest of (0: the newest); null when it is not there. */
export function openOutputFile(path: string, rotated: number): { fd: number | null; rotated: number } {
  const newest = Math.max(0, ...rotatedNumbers(path)) + 1
  const number = rotated === 0 ? newest : rotated
  const file = number === newest ? path : `${path}.${number}`
  return { fd: existsSync(file) ? openSync(file, 'r') : null, rotated: number }
}

/** Removes rotated files up to this number. */
export function removeOutputFiles(path: string, upTo: number): void {
  for (const number of rotatedNumbers(path)) if (number <= upTo) unlinkSync(`${path}.${number}`)
}

function rotatedNumbers(path: string): number[] {
  const prefix = `${basename(path)}.`
  return readdirSync(dirname(path))
    .filter((name) => name.startsWith(prefix))
    .map((name) => Number(name.slice(prefix.length)))
    .filter((number) => Number.isSafeInteger(number) && number > 0)
}
