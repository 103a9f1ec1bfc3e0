import { dockerSocketPath } from '../../common/index.ts'
import { defineCommand, expectPositionals } from '../command.ts'
import { dataDirectoryOf } from '../connection.ts'
import { table } from '../output.ts'
import { examine, examineEngines } from '../platform/index.ts'
import { engineName } from './up.ts'

export const doctor = defineCommand({
  usage: '',
  details: 'Looks at this machine and starts nothing. Exit code 7 when the platform cannot run here.',
  options: { engine: { placeholder: 'runc|docker', description: 'for which engine (default runc)' } },
  run: async (context, values, positionals) => {
    expectPositionals(positionals, [])
    const directory = dataDirectoryOf(context.env)
    const checks = [
      ...examine(directory, engineName(values.engine)),
      ...(await examineEngines(dockerSocketPath(context.env))),
    ]
    const fit = checks.every(({ state }) => state !== 'error')
    const rows = checks.map(({ state, name, message, hint }) => [
      { ok: '✓', warning: '!', error: '✗' }[state],
      name,
      state === 'ok' || hint === undefined ? message : `${message}; ${hint}`,
    ])
    context.output.result({ fit, checks }, table(['', 'what', 'found'], rows))
    if (fit) context.output.next('slipway up')
    return fit ? 0 : 7
  },
})
