import { AppError } from '../../common/index.ts'
import { type Check, checkMachine, installPackages, missingPackages, readMachine } from '../setup/index.ts'

export type EngineName = 'runc' | 'docker'

export function examine(dataDirectory: string, engine: EngineName): Check[] {
  const missing = missingPackages(['run'], engine).map(({ name }) => name)
  return checkMachine(readMachine(dataDirectory, missing), engine)
}

/** Installs what is missing where that is possible, then refuses with everything that is wrong in one message. */
export async function prepareMachine(
  dataDirectory: string,
  engine: EngineName,
  say: (line: string) => void,
): Promise<Check[]> {
  const missing = missingPackages(['run'], engine)
  const packages = examine(dataDirectory, engine).find(({ name }) => name === 'packages')
  if (missing.length > 0 && packages?.state === 'warning') await installPackages(missing, say)
  const checks = examine(dataDirectory, engine)
  const errors = checks.filter(({ state }) => state === 'error')
  if (errors.length === 0) return checks
  const lines = errors.map(({ name, message, hint }) => `${name}: ${message}${hint === undefined ? '' : ` (${hint})`}`)
  throw new AppError(`this machine cannot run Slipway yet:\n  ${lines.join('\n  ')}`, {
    code: 'machine-unfit',
    fault: 'user',
    hint: 'mend these and start again; "slipway doctor" looks without starting anything',
  })
}
