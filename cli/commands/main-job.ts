import { dataPaths } from '../../common/index.ts'
import { defineCommand, expectPositionals, usageError } from '../command.ts'
import { dataDirectoryOf } from '../connection.ts'
import { mainJob as run } from '../main-job.ts'
import { Steps } from '../platform/index.ts'

export const mainJob = defineCommand({
  usage: '',
  details: 'Builds, deploys and calls the samples on the platform that runs: what "npm start" shows.',
  options: { port: { placeholder: 'PORT', description: 'of the gateway' } },
  run: async (context, values, positionals) => {
    expectPositionals(positionals, [])
    const port = Number(values.port)
    if (!Number.isInteger(port)) throw usageError('--port takes a whole number')
    await run(new Steps(), dataPaths(dataDirectoryOf(context.env)), context.env, port)
    return 0
  },
})
