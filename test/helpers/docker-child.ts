// A process that creates and starts the instance given on stdin with an engine of its own, says so, and waits to be killed.
import { json } from 'node:stream/consumers'
import { createLogger } from '../../common/index.ts'
import { type DockerEngineOptions, openDockerEngine } from '../../runtime-shim/engines/docker.ts'
import type { InstanceSpec } from '../../runtime-shim/engines/engine.ts'

const { options, spec } = (await json(process.stdin)) as {
  options: Omit<DockerEngineOptions, 'log'>
  spec: InstanceSpec
}
const engine = await openDockerEngine({ ...options, log: createLogger('child') })
const instance = await engine.create(spec)
await instance.start()
process.stdout.write('started\n')
setInterval(() => undefined, 60_000)
