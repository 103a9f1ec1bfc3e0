import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { dataPaths, takeRunLock } from '../../common/index.ts'
import { Parent } from '../../runtime-shim/host/index.ts'
import { CODE_DIRECTORY } from './code-directory.ts'
import { EndRequest } from './end-request.ts'
import { type ParentTask, runsAlready } from './parent-task.ts'
import { Steps } from './steps.ts'

// The parent process, which `slipway up` becomes: wiring only. It lives as long as the platform and does next to nothing, so it loads next to
// nothing: no schemas, no HTTP, no commands.

const task = JSON.parse(process.env['SLIPWAY_PARENT'] ?? 'null') as ParentTask
// Children get what the user gave to `slipway up`.
for (const name of ['SLIPWAY_PARENT', 'SLIPWAY_CODE_CACHE']) delete process.env[name]
const paths = dataPaths(task.host.dataDirectory)
const steps = new Steps()
let command: ChildProcess | undefined

/** A command of its own process: its failure is told by itself and changes nothing of the platform. */
function run(args: readonly string[]): void {
  command = spawn(process.execPath, [join(CODE_DIRECTORY, 'cli/main.ts'), ...args], {
    stdio: 'inherit',
    env: { ...process.env, SLIPWAY_DATA: paths.root },
  })
  command.on('error', (thrown) => steps.line(thrown.message))
}

async function main(): Promise<void> {
  const endRequest = new EndRequest(steps)
  if (!takeRunLock(paths.parentLock)) throw runsAlready(paths.root)
  const parent = new Parent(task.host, paths)
  const ended = endRequest.ends(parent)
  const started = await steps.run('supervisor, server and registry', () => Promise.race([parent.start(), ended]))
  if (started === true) {
    const { address, port, registryPort } = task.host
    steps.line(`API, gateway   http://${address}:${port}`)
    steps.line(`registry       http://127.0.0.1:${registryPort}`)
    if ('say' in task.afterReady) steps.line(task.afterReady.say)
    else run(task.afterReady.run)
  }
  await ended
  command?.kill()
}

try {
  await main()
  process.exit(0)
} catch (thrown) {
  // What turns errors into words and exit codes knows the whole API: it is loaded when it is needed, and then the end is near.
  const [{ Output }, { exitCodeOf }] = await Promise.all([import('../output.ts'), import('../exit-codes.ts')])
  new Output(task.json ? 'json' : 'text', process.stdout, process.stderr).error(thrown)
  process.exit(exitCodeOf(thrown))
}
