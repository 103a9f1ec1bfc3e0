import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { execa } from 'execa'
import { freePort, Platform } from '../test/helpers/platform.ts'
import { end, listening } from './kit/bare.ts'
import { Caller } from './kit/caller.ts'
import { webSourceOf } from './kit/functions.ts'
import type { LoadRequest, LoadResult } from './kit/load.ts'
import { startNginx } from './kit/nginx.ts'
import { CpuWatch, ourProcesses } from './kit/processes.ts'
import { type Defer, median, quiet, type Row, runScenario } from './kit/scenario.ts'

// Web calls against an nginx in front of the same server: CPU of a small call at 64 callers through both forms of address, CPU of streams, and
// what is added to the time of a call with nobody else there.

const CONNECTIONS = 64
const CALLS = 8_000
const LATENCY_CALLS = 2_000
const ROUNDS = 3
const STREAMS = 16
const STREAM_MB = 16

interface Side {
  name: string
  port: number
  request: Buffer
  pids: number[]
  found: number[]
}

async function load({ port, request }: Side, more: Pick<LoadRequest, 'calls' | 'connections'>): Promise<LoadResult> {
  const input = JSON.stringify({ port, request: request.toString('base64'), ...more } satisfies LoadRequest)
  const { stdout } = await execa(process.execPath, [join(import.meta.dirname, 'kit/load.ts')], { input })
  const result = JSON.parse(stdout) as LoadResult
  if (result.failed > 0) throw new Error(`${result.failed} of ${result.calls} calls failed`)
  return result
}

function get(host: string, path: string): Buffer {
  return Buffer.from(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n`)
}

function upload(host: string, path: string): Buffer {
  const head = `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${STREAM_MB * 1024 * 1024}\r\n\r\n`
  return Buffer.concat([Buffer.from(head), Buffer.alloc(STREAM_MB * 1024 * 1024, 'x')])
}

/** Medians of rounds in turn, so that what else runs on the machine falls on all sides alike. */
async function rounds(sides: Side[], measure: (side: Side) => Promise<number>): Promise<number[]> {
  for (const side of sides) side.found = []
  for (let round = 0; round <= ROUNDS; round += 1) {
    for (const side of sides) {
      await quiet()
      const found = await measure(side)
      // The first warms up.
      if (round > 0) side.found.push(found)
    }
  }
  return sides.map(({ found }) => median(found))
}

const cpuPer = (unitsPerCall: number, calls: number, connections: number) => async (side: Side) => {
  const cpu = new CpuWatch(side.pids)
  await load(side, { calls, connections })
  return (cpu.elapsedMs() * 1_000) / (calls * unitsPerCall)
}

async function setUp(defer: Defer) {
  const platform = await Platform.start('runc', { logLevel: 'info' })
  defer(() => platform.stop())
  const { directory, server } = webSourceOf(defer)
  const limits = ['--max-request', String(2 ** 25), '--max-response', String(2 ** 25)]
  const settings = [
    '--type',
    'web',
    '--memory',
    '3072',
    '--concurrency',
    '64',
    '--max-instances',
    '1',
    '--timeout',
    '60',
  ]
  await platform.cli('deploy', directory, '--name', 'web', '--keep-alive', '3600', ...settings, ...limits)
  const [upstreamPort, proxyPort] = [await freePort(), await freePort()]
  const bare = spawn(process.execPath, [server, String(upstreamPort)], { stdio: 'ignore' })
  defer(() => end(bare))
  const caller: Caller = await listening(upstreamPort)
  caller.close()
  const workers = await startNginx(proxyPort, upstreamPort, defer)
  const warm = await fetch(`${platform.url}/web/default/web/`)
  if (!warm.ok) throw new Error(`the function answers ${warm.status}`)
  const ours = (await ourProcesses(platform)).map(({ pid }) => pid)
  const side = (name: string, port: number, request: Buffer, pids: number[]): Side => ({
    name,
    port,
    request,
    pids,
    found: [],
  })
  const host = 'web.default.localhost'
  return {
    small: [
      side('host form', platform.port, get(host, '/'), ours),
      side('path form', platform.port, get('127.0.0.1', '/web/default/web/'), ours),
      side('nginx', proxyPort, get(host, '/'), workers),
    ],
    bare: side('bare', upstreamPort, get(host, '/'), [bare.pid ?? 0]),
    streams: [
      side('ours', platform.port, upload(host, '/stream/'), ours),
      side('nginx', proxyPort, upload(host, '/stream/'), workers),
    ],
  }
}

const text = (sides: Side[], unit: string, digits = 1): string =>
  sides.map(({ name, found }) => `${name} ${median(found).toFixed(digits)} ${unit}`).join(', ')

await runScenario(async (defer): Promise<Row[]> => {
  const { small, bare, streams } = await setUp(defer)
  const rows: Row[] = []
  const [host = 0, path = 0, nginx = 1] = await rounds(small, cpuPer(1, CALLS, CONNECTIONS))
  const cpuDetail = `${text(small, 'µs')}; medians of ${ROUNDS} rounds of ${CALLS} calls at ${CONNECTIONS} callers`
  rows.push({ name: 'web-cpu', value: Math.max(host, path) / nginx, detail: cpuDetail })

  const timed = [...small, bare]
  const p50 = async (side: Side) => (await load(side, { calls: LATENCY_CALLS, connections: 1 })).p50Ms * 1_000
  const [hostUs = 0, pathUs = 0, nginxUs = 0, bareUs = 0] = await rounds(timed, p50)
  const added = (Math.max(hostUs, pathUs) - bareUs) / (nginxUs - bareUs)
  rows.push({ name: 'web-latency', value: added, detail: `p50 at one caller: ${text(timed, 'µs', 0)}` })

  const [ours = 0, theirs = 1] = await rounds(streams, cpuPer(2 * STREAM_MB, STREAMS, 4))
  const streamDetail = `${text(streams, 'µs')} per MB; ${STREAMS} calls of ${STREAM_MB} MB each way at 4 callers`
  rows.push({ name: 'stream-cpu', value: ours / theirs, detail: streamDetail })
  return rows
})
