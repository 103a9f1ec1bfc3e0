import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { NetworkNamespaces } from '../../sandbox/index.ts'
import type { Platform } from '../../test/helpers/platform.ts'
import { Caller, postRequest } from './caller.ts'

const FUNCTION_PORT = 9_000
const LISTEN_TIMEOUT_MS = 10_000
const USER = '1000:1000'

/** The baseline of everything: the function's own server with its files, arguments and environment, and nothing of the platform. */
export interface BareServer {
  /** The overlay of an instance that runs: the same layers, mounted in the same way. */
  root: string
  argv: string[]
  env: Record<string, string>
}

/** Reads what the server of a running instance is made of. */
export function bareServerOf(platform: Platform, instanceId: string): BareServer {
  const directory = join(platform.dataDirectory, 'run/instances', instanceId)
  const pid = readFileSync(join(directory, 'pid'), 'utf8').trim()
  const words = (file: string): string[] => readFileSync(`/proc/${pid}/${file}`, 'utf8').split('\0').slice(0, -1)
  const env = words('environ').map((entry): [string, string] => {
    const equals = entry.indexOf('=')
    return [entry.slice(0, equals), entry.slice(equals + 1)]
  })
  return { root: join(directory, 'root'), argv: words('cmdline'), env: Object.fromEntries(env) }
}

/** The time from spawning the server in the namespace pinned to `netns` to the first byte of its answer to an event. It is ended again. */
export async function bareFirstByteMs(server: BareServer, networks: NetworkNamespaces, netns: string): Promise<number> {
  const began = performance.now()
  const child = spawn('nsenter', [`--net=${netns}`, ...chrooted(server)], { stdio: 'ignore', env: server.env })
  try {
    const caller = Caller.over(await dial(networks, netns, began))
    const { status } = await caller.call(postRequest('/event-invoke', '{}'))
    const elapsedMs = performance.now() - began
    caller.close()
    if (status !== 200) throw new Error(`the bare server answered ${status}`)
    return elapsedMs
  } finally {
    await end(child)
  }
}

/** Starts the server on a port of this machine's own loopback. The process is the caller's to end. */
export async function startBareServer(server: BareServer, port: number): Promise<ChildProcess> {
  const [program = '', ...args] = chrooted({ ...server, argv: [...server.argv, String(port)] })
  const child = spawn(program, args, { stdio: 'ignore', env: server.env })
  try {
    const caller = await listening(port)
    caller.close()
    return child
  } catch (thrown) {
    await end(child)
    throw thrown
  }
}

export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
}

/** Waits until somebody listens on a port of loopback, asking as often as the supervisor does. */
export async function listening(port: number, timeoutMs = LISTEN_TIMEOUT_MS): Promise<Caller> {
  const untilMs = performance.now() + timeoutMs
  for (;;) {
    try {
      return await Caller.open(port)
    } catch (thrown) {
      if (performance.now() > untilMs) throw thrown
    }
    await sleep(1)
  }
}

function chrooted({ root, argv }: BareServer): string[] {
  return ['chroot', `--userspec=${USER}`, root, ...argv]
}

async function dial(networks: NetworkNamespaces, netns: string, began: number): Promise<Socket> {
  for (;;) {
    const outcome = await networks.dial(netns, FUNCTION_PORT)
    if (outcome.kind === 'connected') return new Socket({ fd: outcome.fd, readable: true, writable: true })
    if (performance.now() - began > LISTEN_TIMEOUT_MS) throw new Error('the bare server does not listen')
    await sleep(1)
  }
}
