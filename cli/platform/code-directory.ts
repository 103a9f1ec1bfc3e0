import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Root of the project's code. */
export const CODE_DIRECTORY = join(dirname(fileURLToPath(import.meta.url)), '../..')
