import { spawn } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { createLogger } from '../../../common/index.ts'
import { Keeper } from '../../../runtime-shim/host/keeper.ts'

const logger = createLogger('test')
logger.level = 'silent'

describe('a kept process', () => {
  it.each([
    ['cannot be started', () => spawn('/nonexistent/program')],
    [
      'is not even tried, for want of a log file or memory',
      () => {
        throw new Error('ENOSPC')
      },
    ],
  ])('that %s is started again', async (_title, spawnFails) => {
    const started = Promise.withResolvers<number>()
    let attempts = 0
    const keeper = new Keeper({
      role: 'test',
      logger,
      spawn: () => {
        attempts += 1
        return attempts < 3 ? spawnFails() : spawn('sleep', ['60'])
      },
      onStarted: ({ pid }) => started.resolve(pid),
    })
    keeper.start()
    expect(await started.promise).toBe(keeper.current?.pid)
    await keeper.close(1_000)
  })
})
