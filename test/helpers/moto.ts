import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { execa } from 'execa'
import { CACHE } from './cache.ts'
import { requireProgram } from './programs.ts'

/** What stands in for AWS, with the two packages that its server needs. */
const PACKAGES = ['moto==5.2.1', 'flask==3.1.3', 'flask-cors==6.0.5']
const DIRECTORY = join(CACHE, 'moto-5.2.1-python')
const INSTALL_MS = 180_000

/** Whether tests against AWS's double can run here: Python and its packages are there, or can be got. Loud when not; a failure in CI. */
export async function requireMoto(): Promise<boolean> {
  if (!requireProgram('python3', 'setpriv')) return false
  if (existsSync(DIRECTORY)) return true
  const made = `${DIRECTORY}.${process.pid}`
  mkdirSync(CACHE, { recursive: true })
  try {
    const args = ['-m', 'pip', 'install', '--quiet', '--no-input', '--target', made, ...PACKAGES]
    await execa('python3', args, { timeout: INSTALL_MS })
    renameSync(made, DIRECTORY)
  } catch (thrown) {
    rmSync(made, { recursive: true, force: true })
    const message = `tests skipped: moto cannot be installed: ${String(thrown).slice(0, 500)}`
    if (!existsSync(DIRECTORY) && process.env['CI'] !== undefined) throw new Error(message, { cause: thrown })
    if (!existsSync(DIRECTORY)) console.warn(message)
  }
  return existsSync(DIRECTORY)
}

export interface AwsCall {
  /** `GetAuthorizationToken`, `AssumeRole` */
  action: string
  accessKeyId: string
  /** Parameters of a call by form (STS). */
  form: URLSearchParams
}

/** AWS as far as tests need it: moto, and a proxy before it that keeps calls, mends what moto does not know, and fails on demand. */
export interface Aws {
  url: string
  calls: AwsCall[]
  /** moto says that every token ended in 2015; with a number, tokens live so long from now. */
  tokenLifeMs: number | undefined
  /** Answered in place of moto: HTTP status and AWS's name of the error. */
  failure: { status: number; type: string; message?: string } | undefined
  /** Nothing is answered. */
  hangs: boolean
  close(): Promise<void>
}

export async function startAws(): Promise<Aws> {
  const moto = await startMoto()
  const aws: Aws = { url: '', calls: [], tokenLifeMs: 12 * 3_600_000, failure: undefined, hangs: false, close }
  const server = createServer((request, response) => {
    serve(aws, moto.url, request, response).catch(() => response.destroy())
  })
  async function close(): Promise<void> {
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
    await moto.stop()
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  aws.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return aws
}

async function serve(aws: Aws, moto: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const body = Buffer.concat(chunks)
  const call = callOf(request, body)
  aws.calls.push(call)
  if (aws.hangs) return
  if (aws.failure !== undefined) return fail(aws.failure, call, response)
  const headers = Object.entries(request.headers).filter(([name]) => name !== 'host' && name !== 'content-length')
  const answer = await fetch(moto, { method: 'POST', headers: headers as [string, string][], body })
  let text = await answer.text()
  if (call.action === 'GetAuthorizationToken' && aws.tokenLifeMs !== undefined) {
    text = text.replace(/"expiresAt": *\d+/, `"expiresAt": ${(Date.now() + aws.tokenLifeMs) / 1000}`)
  }
  response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' }).end(text)
}

function callOf(request: IncomingMessage, body: Buffer): AwsCall {
  const form = new URLSearchParams(body.toString('utf8'))
  const target = String(request.headers['x-amz-target'] ?? '')
  const [, accessKeyId = ''] = /Credential=([^/]+)\//.exec(request.headers.authorization ?? '') ?? []
  return { action: target.split('.').at(-1) || (form.get('Action') ?? ''), accessKeyId, form }
}

/** In the form of the service: STS answers XML, ECR JSON. */
function fail(
  { status, type, message = type }: NonNullable<Aws['failure']>,
  call: AwsCall,
  response: ServerResponse,
): void {
  if (call.form.has('Action')) {
    const error = `<Error><Type>Sender</Type><Code>${type}</Code><Message>${message}</Message></Error>`
    const xml = `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">${error}</ErrorResponse>`
    response.writeHead(status, { 'content-type': 'text/xml' }).end(xml)
    return
  }
  const headers = { 'content-type': 'application/x-amz-json-1.1', 'x-amzn-errortype': type }
  response.writeHead(status, headers).end(JSON.stringify({ __type: type, message }))
}

async function startMoto(): Promise<{ url: string; stop(): Promise<void> }> {
  const args = ['--pdeathsig', 'KILL', 'python3', '-m', 'moto.server', '-H', '127.0.0.1', '-p', '0']
  const env = { PATH: process.env['PATH'] ?? '', PYTHONPATH: DIRECTORY, PYTHONDONTWRITEBYTECODE: '1' }
  const child = spawn('setpriv', args, { env, stdio: ['ignore', 'ignore', 'pipe'] })
  const exited = once(child, 'exit')
  const url = await new Promise<string>((resolve, reject) => {
    const said: string[] = []
    const lines = createInterface(child.stderr)
    lines.on('line', (line) => {
      said.push(line)
      const found = /Running on (http:\/\/127\.0\.0\.1:\d+)/.exec(line)?.[1]
      if (found !== undefined) resolve(found)
    })
    lines.once('close', () => reject(new Error(`moto ended: ${said.slice(-5).join('\n')}`)))
  })
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL')
    await exited
  }
  return { url, stop }
}
