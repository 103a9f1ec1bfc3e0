// A process that creates and starts the instance given on stdin with an engine of its own, says when it begins and when it has
// started it, and waits to be killed.

import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { createLogger, dataPaths } from '../../common/index.ts'
import { openContentStore } from '../../content/index.ts'
import type { InstanceSpec } from '../../runtime-shim/engines/engine.ts'
import { openRuncEngine } from '../../runtime-shim/engines/runc.ts'
import { storeOf } from './runc-harness.ts'
import { makeTestImage } from './test-image.ts'

const spec = JSON.parse(await text(process.stdin)) as InstanceSpec
const paths = dataPaths(process.argv[2] ?? '')
const content =
  process.argv[3] === 'pulls'
    ? await openContentStore(paths.content, { logger: createLogger('child') })
    : storeOf([await makeTestImage()])
const engine = openRuncEngine({
  hash: paths.hash,
  instancesDirectory: paths.instances,
  workDirectory: join(paths.run, 'sandbox'),
  content,
  log: createLogger('child'),
})
process.stdout.write('begins\n')
const instance = await engine.create(spec)
await instance.start()
process.stdout.write('started\n')
setInterval(() => undefined, 60_000)
