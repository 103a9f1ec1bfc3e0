import { defineCommand, expectPositionals } from '../command.ts'
import { dataDirectoryOf } from '../connection.ts'
import { down as runDown } from '../platform/index.ts'

export const down = defineCommand({
  usage: '',
  details: 'Ends the platform on $SLIPWAY_DATA: instances, registry, server, supervisor. Data stays.',
  options: {},
  run: async (context, _values, positionals) => {
    expectPositionals(positionals, [])
    const directory = dataDirectoryOf(context.env)
    const stopped = await runDown(directory)
    context.output.result({ stopped }, stopped ? 'stopped' : `nothing runs on ${directory}`)
    return 0
  },
})
