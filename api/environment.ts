import type { Violation } from './validation.ts'

/** Facts: scf-contract 8.4. One of the four is a misspelling that the cloud's documents also print. */
export const RESERVED_PREFIXES = ['SCF_', 'QCLOUD_', 'TENCENTCLOUD_', 'TECENTCLOUD_']
/** All names and values of a function's environment together, in bytes, unless the namespace allows more. */
export const DEFAULT_ENV_BYTES = 4096
/** MAX_ARG_STRLEN of execve(2), the end of the string not counted: one argument, or one variable as NAME=VALUE. */
export const MAX_EXEC_BYTES = 128 * 1024 - 1
const KEY = /^[A-Za-z][A-Za-z0-9_]*$/

/** What is wrong with the environment a user gives a function. `TZ` is a variable like any other. */
export function environmentProblems(env: Readonly<Record<string, string>>, maxBytes = DEFAULT_ENV_BYTES): Violation[] {
  const problems: Violation[] = []
  let bytes = 0
  for (const [key, value] of Object.entries(env)) {
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value)
    const path = `env.${key.slice(0, 64)}`
    const prefix = RESERVED_PREFIXES.find((reserved) => key.startsWith(reserved))
    if (!KEY.test(key)) problems.push({ path, message: 'must begin with a letter and have only A-Z a-z 0-9 _' })
    else if (prefix !== undefined) problems.push({ path, message: `must not begin with ${prefix}, which is reserved` })
    const length = Buffer.byteLength(key) + 1 + Buffer.byteLength(value)
    if (length > MAX_EXEC_BYTES)
      problems.push({
        path,
        message: `${key.slice(0, 64)}=… has ${length} bytes, the kernel takes at most ${MAX_EXEC_BYTES}`,
      })
    if (value.includes('\0')) problems.push({ path, message: 'must not contain NUL' })
  }
  if (bytes > maxBytes) problems.push({ path: 'env', message: `has ${bytes} bytes, at most ${maxBytes} are allowed` })
  return problems
}
