import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Platform, PROJECT } from '../test/helpers/platform.ts'
import { ourProcesses, pssMb } from './kit/processes.ts'
import { type Defer, type Row, runScenario } from './kit/scenario.ts'

// Memory of our processes for connections that callers hold: heads that never end, and open WebSockets. A few of each have been there
// before, as in any server that is not new: what is made once for all of them is not counted.

const SLOW = 10_000
const WEBSOCKETS = 1_000
const WARM = 100
const AT_ONCE = 200
const SETTLE_MS = 3_000

const HALF_A_HEAD = 'GET /slow HTTP/1.1\r\nHost: web.default.localhost\r\nX-Slow: '
const HANDSHAKE = `${[
  'GET /held HTTP/1.1',
  'Host: web.default.localhost',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
].join('\r\n')}\r\n\r\n`

async function open(port: number, bytes: string, isAnswered: boolean): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  socket.write(bytes)
  if (!isAnswered) return socket
  const [answer] = (await once(socket, 'data')) as [Buffer]
  if (!answer.toString('latin1').startsWith('HTTP/1.1 101 ')) throw new Error(answer.toString('latin1'))
  return socket
}

async function openMany(count: number, make: () => Promise<Socket>): Promise<Socket[]> {
  const sockets: Socket[] = []
  while (sockets.length < count) {
    const batch = Math.min(AT_ONCE, count - sockets.length)
    sockets.push(...(await Promise.all(Array.from({ length: batch }, make))))
  }
  return sockets
}

async function measure(platform: Platform): Promise<Record<string, number>> {
  await sleep(SETTLE_MS)
  const ours = await ourProcesses(platform)
  return Object.fromEntries(ours.map(({ role, pid }) => [role, pssMb(pid)]))
}

/** Without the content worker, which ends when it has nothing to do. */
const lastingMb = (mb: Record<string, number>): number =>
  Object.entries(mb).reduce((sum, [role, each]) => (role === 'worker' ? sum : sum + each), 0)

async function held(
  platform: Platform,
  count: number,
  make: () => Promise<Socket>,
): Promise<{ kb: number; detail: string }> {
  for (const socket of await openMany(WARM, make)) socket.destroy()
  const before = await measure(platform)
  const beganMs = performance.now()
  const sockets = await openMany(count, make)
  const openedMs = performance.now() - beganMs
  const during = await measure(platform)
  const left = sockets.filter(({ readable }) => readable).length
  if (left < count) throw new Error(`only ${left} of ${count} connections were left to measure`)
  for (const socket of sockets) socket.destroy()
  const growthMb = lastingMb(during) - lastingMb(before)
  const server = `server ${before['server']?.toFixed(1)} to ${during['server']?.toFixed(1)}`
  return {
    kb: (growthMb * 1024) / count,
    detail: `${growthMb.toFixed(1)} MB more (${server}) for ${count}, opened in ${(openedMs / 1_000).toFixed(1)} s`,
  }
}

async function start(defer: Defer): Promise<Platform> {
  const compiled = mkdtempSync(join(tmpdir(), 'slipway-bench-'))
  defer(() => rmSync(compiled, { recursive: true, force: true }))
  const platform = await Platform.start('runc', { logLevel: 'info', environment: { NODE_COMPILE_CACHE: compiled } })
  defer(() => platform.stop())
  const settings = ['--type', 'web', '--concurrency', '100', '--max-instances', '12', '--timeout', '120']
  await platform.cli('deploy', join(PROJECT, 'test/fixtures/web'), '--name', 'web', '--keep-alive', '3600', ...settings)
  return platform
}

await runScenario(async (defer): Promise<Row[]> => {
  const platform = await start(defer)
  const slow = await held(platform, SLOW, () => open(platform.port, HALF_A_HEAD, false))
  const websockets = await held(platform, WEBSOCKETS, () => open(platform.port, HANDSHAKE, true))
  return [
    { name: 'memory-slow-loris', value: slow.kb, detail: slow.detail },
    { name: 'memory-websocket', value: websockets.kb, detail: websockets.detail },
  ]
})
