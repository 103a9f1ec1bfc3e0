// A supervisor to be killed: with an engine of its own it creates and starts the instance given on stdin, or adopts it, says so, and goes on,
// rotating the instance's output every `rotateMs` when told to.
import { json } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { createLogger } from '../../common/index.ts'
import { type DockerEngineOptions, openDockerEngine } from '../../runtime-shim/engines/docker.ts'
import type { InstanceSpec } from '../../runtime-shim/engines/engine.ts'

export interface DockerChildOrders {
  options: Omit<DockerEngineOptions, 'log'>
  spec: InstanceSpec
  what: 'create' | 'adopt'
  rotateMs?: number
}

const { options, spec, what, rotateMs } = (await json(process.stdin)) as DockerChildOrders
const engine = await openDockerEngine({ ...options, log: createLogger('child') })
const instance = what === 'create' ? await engine.create(spec) : await engine.adopt(spec)
if (instance === undefined) throw new Error('nothing to adopt')
if (what === 'create') await instance.start()
process.stdout.write('ready\n')
for (;;) {
  await sleep(rotateMs ?? 60_000)
  if (rotateMs !== undefined) await instance.rotateOutput()
}
