/**
 * A process that copies output, to be killed: `node output-child.ts OUTPUT_DIRECTORY JSON`, where JSON is {instances: {ID: DIRECTORY},
 * limits, rotate: 'ask' | 'conmon'}. Each instance belongs to the function `fID`. With `ask` the parent rotates; with `conmon` the FIFO `ctl`
 * in the directory does. Messages: 'ready', {rotate: ID}, and what was asked for: {report}.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { createLogger } from '../../common/index.ts'
import { Output } from '../../runtime-shim/output/index.ts'
import { ConmonFiles, OutputFiles } from './output-files.ts'

const [directory = '', json = '{}'] = process.argv.slice(2)
const { instances, limits, rotate } = JSON.parse(json) as {
  instances: Record<string, string>
  limits: object
  rotate: 'ask' | 'conmon'
}
const logger = createLogger('output-child', { write: () => undefined })
const output = new Output({ directory, records: { list: async () => [], get: async () => undefined }, logger, limits })
const waiting = new Map<string, (number: number) => void>()
const loop = monitorEventLoopDelay({ resolution: 2 })
let peakRss = 0
let lateMs = 0
let cpu = process.cpuUsage()

class AskedFiles extends OutputFiles {
  readonly id: string

  constructor(id: string, path: string) {
    super(path)
    this.id = id
  }

  override rotate(): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>()
    waiting.set(this.id, resolve)
    process.send?.({ rotate: this.id })
    return promise
  }
}

/** The line of a neighbour is the time at which it was written: how late is it when a follower gets it? */
async function watchNeighbour(id: string): Promise<void> {
  loop.enable()
  setInterval(() => {
    peakRss = Math.max(peakRss, process.memoryUsage.rss())
  }, 20)
  for await (const { line } of output.read({ namespace: 'default', function: `f${id}`, follow: true })) {
    lateMs = Math.max(lateMs, Date.now() - Number(line))
  }
}

process.on('message', (message: { rotated?: { id: string; number: number }; ask?: string; id?: string }) => {
  if (message.rotated !== undefined) waiting.get(message.rotated.id)?.(message.rotated.number)
  if (message.ask === 'reset') {
    loop.reset()
    lateMs = 0
    peakRss = process.memoryUsage.rss()
    cpu = process.cpuUsage()
  }
  if (message.ask === 'watch') void watchNeighbour(message.id ?? '')
  if (message.ask === 'finish') {
    void output.finish(message.id ?? '').then(
      () => process.send?.({ finished: message.id }),
      (thrown: unknown) => process.send?.({ failed: String(thrown) }),
    )
  }
  if (message.ask === 'report') {
    const { user, system } = process.cpuUsage(cpu)
    const rss = process.memoryUsage.rss()
    process.send?.({
      report: { rss, peakRss, lateMs, loopP99Ms: loop.percentile(99) / 1e6, cpuMs: (user + system) / 1000 },
    })
  }
})
for (const [id, path] of Object.entries(instances)) {
  const files = rotate === 'ask' ? new AskedFiles(id, path) : new ConmonFiles(path)
  await output.attach(id, { namespace: 'default', function: `f${id}` }, files)
}
process.send?.('ready')
