import { BUILD_ERRORS } from './errors/builds.ts'
import type { ErrorEntry } from './errors/entry.ts'
import { IMAGE_ERRORS } from './errors/images.ts'
import { INSTANCE_ERRORS } from './errors/instances.ts'
import { MACHINE_ERRORS } from './errors/machine.ts'
import { REQUEST_ERRORS } from './errors/requests.ts'

export type { ErrorEntry, ExitKind } from './errors/entry.ts'

/** All codes by subject, as docs/ERRORS.md shows them. */
export const ERROR_GROUPS = {
  'Requests, access, definitions, the command line': REQUEST_ERRORS,
  'Images and registries': IMAGE_ERRORS,
  'Sources and builds': BUILD_ERRORS,
  'Instances and calls': INSTANCE_ERRORS,
  'The machine': MACHINE_ERRORS,
} as const

/** Every code that an AppError of this project may carry. A test keeps the list and the source equal, in both directions. */
export const ERRORS = { ...REQUEST_ERRORS, ...IMAGE_ERRORS, ...BUILD_ERRORS, ...INSTANCE_ERRORS, ...MACHINE_ERRORS }

export type ErrorCode = keyof typeof ERRORS

/** The entry of a code. One that is not registered counts as `internal`: the test over the source keeps that from happening. */
export function errorEntry(code: string): ErrorEntry {
  return Object.hasOwn(ERRORS, code) ? ERRORS[code as ErrorCode] : ERRORS.internal
}
