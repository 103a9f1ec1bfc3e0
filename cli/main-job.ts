import { join } from 'node:path'
import { AppError, type DataPaths, run } from '../common/index.ts'
import { buildPlaces } from './build-places.ts'
import { CODE_DIRECTORY, type Steps } from './platform/index.ts'

interface Answer {
  digest?: string
  image?: { digest: string }
  statusCode?: number
  result?: unknown
  requestId?: string
  coldStart?: { totalMs: number } | null
  durationMs?: number
}

const STEP_MS = 10 * 60_000

/** Makes the base image of Node functions, or finds it made. */
export async function makeBase(steps: Steps, paths: DataPaths, env: NodeJS.ProcessEnv): Promise<void> {
  const { makeNodeBase } = await import('../base-images/node/index.ts')
  const { base } = buildPlaces(env, paths)
  await steps.run(
    'Node base image',
    (say) => makeNodeBase({ cacheDirectory: base, progress: say }),
    ({ digest, cached }) => `${digest}${cached ? ', made before' : ''}`,
  )
}

/** What the platform is for, once, the way a user does it: build, push, deploy by digest, event call, web call, logs. */
export async function mainJob(steps: Steps, paths: DataPaths, env: NodeJS.ProcessEnv, port: number): Promise<void> {
  const slipway = (onLine: ((line: string) => void) | undefined, ...args: string[]) => cli(env, paths, args, onLine)
  const sample = (name: string): string => join(CODE_DIRECTORY, 'samples', name)
  try {
    await steps.run(
      'build and push samples/hello-node',
      (say) => slipway(say, 'build', sample('hello-node'), '--name', 'hello-node'),
      digest,
    )
    await steps.run(
      'deploy by digest',
      () => slipway(undefined, 'deploy', '--image', 'default/hello-node', '--name', 'hello-node'),
      digest,
    )
    const event = JSON.stringify({ name: 'world' })
    const first = await steps.run('event call', () => slipway(undefined, 'invoke', 'hello-node', '-d', event), called)
    await steps.run('event call, warm', () => slipway(undefined, 'invoke', 'hello-node', '-d', event), called)
    await steps.run(
      'build, push and deploy samples/hello-web',
      () => slipway(undefined, 'deploy', sample('hello-web'), '--name', 'hello-web'),
      digest,
    )
    const url = `http://hello-web.default.localhost:${port}/`
    await steps.run(
      'web call',
      () => web(port, 'hello-web.default.localhost'),
      (text) => text,
    )
    await steps.run(
      'logs',
      () => logs(env, paths, first.requestId ?? ''),
      (text) => `\n${text}`,
    )
    steps.line(`\nAPI            http://127.0.0.1:${port}`)
    steps.line(`web function   ${url}`)
    steps.line('\nnext, in another terminal:')
    steps.line('  ./slipway invoke hello-node -d \'{"name":"you"}\'')
    steps.line(`  curl ${url}`)
    steps.line('  ./slipway deploy PATH        (a directory with an index.js)')
    steps.line('Ctrl-C or "./slipway down" ends the platform.')
  } catch (thrown) {
    throw new AppError(`the main job failed: ${thrown instanceof Error ? thrown.message : String(thrown)}`, {
      code: 'main-job-failed',
      hint: `the platform stays up; its logs are in ${paths.log}`,
      cause: thrown,
    })
  }
}

async function cli(
  env: NodeJS.ProcessEnv,
  paths: DataPaths,
  args: string[],
  onLine?: (line: string) => void,
): Promise<Answer> {
  const { stdout } = await text(env, paths, [...args, '-o', 'json'], onLine)
  return JSON.parse(stdout) as Answer
}

function text(env: NodeJS.ProcessEnv, paths: DataPaths, args: string[], onLine?: (line: string) => void) {
  const given = Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined)
  const own = { ...Object.fromEntries(given), SLIPWAY_DATA: paths.root }
  const progress =
    onLine === undefined ? {} : { onLine: (line: string) => (line.startsWith('{') ? undefined : onLine(line)) }
  return run(process.execPath, [join(CODE_DIRECTORY, 'cli/main.ts'), ...args], {
    timeoutMs: STEP_MS,
    env: own,
    ...progress,
  })
}

async function logs(env: NodeJS.ProcessEnv, paths: DataPaths, requestId: string): Promise<string> {
  const { stdout } = await text(env, paths, ['logs', 'hello-node', '--request-id', requestId])
  return stdout.trimEnd().replace(/^/gm, '    ')
}

async function web(port: number, host: string): Promise<string> {
  const { request } = await import('node:http')
  return new Promise((resolve, reject) => {
    const call = request(
      { host: '127.0.0.1', port, path: '/', headers: { host: `${host}:${port}` }, timeout: 60_000 },
      (answer) => {
        let body = ''
        answer.setEncoding('utf8')
        answer.on('data', (chunk: string) => {
          body = (body + chunk).slice(0, 200)
        })
        answer.on('end', () =>
          answer.statusCode === 200
            ? resolve(body.trim())
            : reject(new Error(`web call answered ${answer.statusCode}: ${body}`)),
        )
      },
    )
    call.on('error', reject)
    call.end()
  })
}

function digest(answer: Answer): string {
  return answer.digest ?? answer.image?.digest ?? ''
}

function called(answer: Answer): string {
  const cold = answer.coldStart == null ? 'warm' : `cold start ${answer.coldStart.totalMs.toFixed(0)} ms`
  return `${answer.statusCode} ${JSON.stringify(answer.result)} (${cold})`
}
