import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Platform } from '../../test/helpers/platform.ts'
import { type Caller, postRequest } from './caller.ts'
import type { Defer } from './scenario.ts'

export interface InstanceView {
  id: string
  state: string
}

export interface Invocation {
  statusCode: number
  result: unknown
  durationMs: number
  coldStart: { totalMs: number; phases: Record<string, number> } | null
}

/** A directory with one `index.js`, for as long as the scenario runs. */
export function sourceOf(defer: Defer, code: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'slipway-bench-'))
  defer(() => rmSync(directory, { recursive: true, force: true }))
  writeFileSync(join(directory, 'index.js'), code)
  return directory
}

/** A web function for measuring: `/` answers 27 bytes, `/stream/` takes and answers 16 MB. Listens on its argument, or 9000. */
const WEB_SERVER = `
import { createServer } from 'node:http'
const block = Buffer.alloc(64 * 1024, 'x')
const BLOCKS = 256
function down(response) {
  response.writeHead(200, { 'content-type': 'text/plain', 'content-length': block.length * BLOCKS })
  let left = BLOCKS
  const more = () => {
    while (left > 0) {
      left -= 1
      if (!response.write(block)) return response.once('drain', more)
    }
    response.end()
  }
  more()
}
createServer((request, response) => {
  request.resume()
  if (request.url.startsWith('/stream/')) request.on('end', () => down(response))
  else response.writeHead(200, { 'content-type': 'application/json', 'content-length': 27 }).end('{"hello":"bench","items":8}')
}).listen(Number(process.argv[2] ?? 9000), '0.0.0.0')
`

/** The source of a web function, and its server's file. */
export function webSourceOf(defer: Defer): { directory: string; server: string } {
  const directory = mkdtempSync(join(tmpdir(), 'slipway-bench-'))
  defer(() => rmSync(directory, { recursive: true, force: true }))
  const server = join(directory, 'server.mjs')
  writeFileSync(server, WEB_SERVER)
  writeFileSync(join(directory, 'function.yaml'), 'type: web\ncommand: [node, server.mjs]\n')
  return { directory, server }
}

/** The bytes of an event call through the gateway. */
export function eventRequest(platform: Platform, name: string, event: unknown): Buffer {
  const path = `/v1/namespaces/default/functions/${name}/invocations`
  return postRequest(path, JSON.stringify(event), { authorization: `Bearer ${platform.token}` })
}

export async function callEvent(caller: Caller, request: Buffer): Promise<Invocation> {
  const { status, body } = await caller.call(request)
  if (status !== 200) throw new Error(`an event call was answered ${status}: ${body}`)
  return JSON.parse(body) as Invocation
}

export async function instancesOf(platform: Platform, name: string): Promise<InstanceView[]> {
  return (await api<{ instances: InstanceView[] }>(platform, 'GET', `${name}/instances`)).instances
}

export async function stopInstance(platform: Platform, name: string, id: string): Promise<void> {
  await api(platform, 'DELETE', `${name}/instances/${id}`)
}

async function api<T>(platform: Platform, method: string, path: string): Promise<T> {
  const response = await fetch(`${platform.url}/v1/namespaces/default/functions/${path}`, {
    method,
    headers: { authorization: `Bearer ${platform.token}` },
  })
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`)
  return (await response.json()) as T
}

/** Sandboxes that lie complete and belong to no instance: the `/tmp` volume is mounted last. */
export function waitingSandboxes(platform: Platform): number {
  const instances = join(platform.dataDirectory, 'run/instances')
  const taken = new Set(platform.instanceDirectories())
  const volumes = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith(`${instances}/`) && path.endsWith('/tmp'))
  return volumes.filter((path) => !taken.has(path.slice(instances.length + 1, -'/tmp'.length))).length
}
