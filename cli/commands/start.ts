import { defineCommand, expectPositionals } from '../command.ts'
import { makeBase } from '../main-job.ts'
import { up } from '../platform/index.ts'
import { readUpValues, UP_OPTIONS } from './up.ts'

export const start = defineCommand({
  usage: '',
  details: 'Sets up, starts the platform, runs the main job once on the samples, and stays.',
  options: UP_OPTIONS,
  run: (context, values, positionals) => {
    expectPositionals(positionals, [])
    const options = readUpValues(values, context.env)
    return up({
      ...options,
      beforeStart: (steps, paths) => makeBase(steps, paths, context.env),
      json: context.output.format === 'json',
      afterReady: { run: ['main-job', '--port', String(options.port)] },
    })
  },
})
