import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { identify, isAlive, type ProcessIdentity, tryLockFile, unmount } from '../../common/index.ts'
import { abandonedDirectories, ownedDirectory } from './owned-directory.ts'
import { requireProgram } from './programs.ts'

const PREFIX = 'slipway-dockerd-'
const DEFAULT_SOCKET = '/var/run/docker.sock'
const CONTAINERD_PID = 'exec/containerd/containerd.pid'
const READY_TIMEOUT_MS = 30_000
/** Names the directory of the daemon that the files of a run share. */
const SHARED = 'SLIPWAY_TEST_DOCKERD'

/** A Docker Engine for tests. */
export interface TestDockerd {
  socketPath: string
  /** Undefined when it is the machine's own, which tests must not end. */
  daemon: TestDaemon | undefined
  close(): Promise<void>
}

/** A daemon of our own, which may be killed and started again: its containers and images stay. */
export interface TestDaemon {
  kill(): Promise<void>
  start(): Promise<void>
}

/** Whether tests that need a Docker Engine can run here: one answers, or there is a daemon to start. Loud when not; a failure in CI. */
export async function requireDocker(): Promise<boolean> {
  if (await answers(DEFAULT_SOCKET)) return true
  if (process.getuid?.() === 0) return requireProgram('dockerd', 'containerd', 'runc')
  const message = `tests skipped: no Docker Engine at ${DEFAULT_SOCKET}, and only root can start one`
  if (process.env['CI'] !== undefined) throw new Error(message)
  console.warn(message)
  return false
}

/**
 * The machine's own Engine where one answers, else the one that the files of a run share, else a daemon with directories of its own that changes no network
 * (bridge and iptables off). With `netns` it runs in that network namespace, with the bridge and the published ports that users have.
 */
export async function startTestDockerd(options: { own?: boolean; netns?: string } = {}): Promise<TestDockerd> {
  if (options.own !== true && options.netns === undefined) {
    const socketPath = (await answers(DEFAULT_SOCKET)) ? DEFAULT_SOCKET : await sharedSocket()
    if (socketPath !== undefined) return { socketPath, daemon: undefined, close: async () => undefined }
  }
  for (const home of abandonedDirectories(PREFIX)) await new OwnDaemon(home).close()
  const daemon = new OwnDaemon(ownedDirectory(PREFIX), options.netns)
  try {
    await daemon.start()
  } catch (thrown) {
    await daemon.close()
    throw thrown
  }
  return { socketPath: daemon.socketPath, daemon, close: () => daemon.close() }
}

/**
 * From now on the files of this run share a daemon, which the first one that asks for it starts: coming up takes seconds, and layers that one file pulled the
 * next one has. Answers what ends it.
 */
export function shareDockerd(): () => Promise<void> {
  const home = ownedDirectory(PREFIX)
  process.env[SHARED] = home
  return () => new OwnDaemon(home).close()
}

/** The socket of the run's shared daemon, started if it is not; undefined outside of a run. */
async function sharedSocket(): Promise<string | undefined> {
  const home = process.env[SHARED]
  if (home === undefined) return undefined
  const daemon = new OwnDaemon(home)
  const lock = openSync(join(home, 'lock'), 'a')
  try {
    while (!tryLockFile(lock)) await sleep(50)
    if (!(await answers(daemon.socketPath))) await daemon.start()
    return daemon.socketPath
  } finally {
    closeSync(lock)
  }
}

class OwnDaemon implements TestDaemon {
  readonly socketPath: string
  readonly #home: string
  readonly #netns: string | undefined
  #process: ProcessIdentity | undefined

  constructor(home: string, netns?: string) {
    this.#home = home
    this.#netns = netns
    this.socketPath = join(home, 'docker.sock')
  }

  async start(): Promise<void> {
    const log = openSync(join(this.#home, 'log'), 'a')
    const unchanged = ['--bridge=none', '--iptables=false', '--ip6tables=false', '--ip-forward=false']
    const network = this.#netns === undefined ? unchanged : []
    const inside = this.#netns === undefined ? [] : ['nsenter', `--net=${this.#netns}`]
    const places = ['--data-root', join(this.#home, 'data'), '--exec-root', join(this.#home, 'exec')]
    const own = ['--pidfile', join(this.#home, 'pid'), '--host', `unix://${this.socketPath}`]
    const command = [...inside, 'dockerd', ...places, ...own, '--storage-driver', 'overlay2', ...network]
    const child = spawn(command[0] ?? '', command.slice(1), {
      stdio: ['ignore', log, log],
    })
    closeSync(log)
    this.#process = child.pid === undefined ? undefined : identify(child.pid)
    const ended = once(child, 'exit').then(() => true)
    const untilMs = performance.now() + READY_TIMEOUT_MS
    while (!(await answers(this.socketPath))) {
      const isOver = await Promise.race([ended, sleep(50, false)])
      if (isOver || performance.now() > untilMs) throw new Error(`dockerd did not come up: ${this.#lastWords()}`)
    }
  }

  /** As a crash: containers run on without it. Its containerd dies with it, and the files that name dead processes go. */
  async kill(): Promise<void> {
    await end(this.#process, 'SIGKILL')
    await end(this.#ours(CONTAINERD_PID), 'SIGKILL')
    for (const file of ['pid', CONTAINERD_PID]) rmSync(join(this.#home, file), { force: true })
  }

  /** Ends the daemon with all that it started, and removes its directories with the mounts in them. Works for one of a killed run too. */
  async close(): Promise<void> {
    await end(this.#process ?? this.#ours('pid'), 'SIGTERM')
    await end(this.#ours(CONTAINERD_PID), 'SIGTERM')
    const containers = listing(join(this.#home, 'data/containers'))
    const named = (text: string): boolean => [this.#home, ...containers].some((name) => text.includes(name))
    for (const pid of listing('/proc').filter((name) => /^\d+$/.test(name) && name !== String(process.pid))) {
      const shim = readQuietly(`/proc/${pid}/cmdline`)
      const isOurs = named(readQuietly(`/proc/${pid}/cgroup`)) || (shim.includes('containerd-shim') && named(shim))
      if (isOurs) await end(identify(Number(pid)), 'SIGKILL')
    }
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .map((line) => line.split(' ')[4] ?? '')
    for (const target of mounts.filter((path) => path.startsWith(`${this.#home}/`)).toReversed()) unmount(target)
    for (const controller of ['.', ...listing('/sys/fs/cgroup')]) {
      for (const id of containers) removeQuietly(join('/sys/fs/cgroup', controller, 'docker', id))
    }
    rmSync(this.#home, { recursive: true, force: true })
  }

  /** The process that a pid file of this daemon names, if it is alive and truly this daemon's. */
  #ours(pidFile: string): ProcessIdentity | undefined {
    const pid = Number(readQuietly(join(this.#home, pidFile)))
    return pid > 0 && readQuietly(`/proc/${pid}/cmdline`).includes(this.#home) ? identify(pid) : undefined
  }

  #lastWords(): string {
    return readFileSync(join(this.#home, 'log'), 'utf8').slice(-2000)
  }
}

async function end(process_: ProcessIdentity | undefined, signal: NodeJS.Signals): Promise<void> {
  if (process_ === undefined) return
  for (let attempt = 0; isAlive(process_); attempt += 1) {
    if (attempt % 400 === 0) process.kill(process_.pid, attempt === 0 ? signal : 'SIGKILL')
    await sleep(25)
  }
}

function listing(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory) : []
}

function readQuietly(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** For control groups: what is not there or not empty stays as it is. */
function removeQuietly(directory: string): void {
  try {
    rmdirSync(directory)
  } catch {
    // nothing to remove
  }
}

/** Whether something accepts connections at the socket and answers `GET /_ping`. */
function answers(socketPath: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const socket = connect(socketPath, () => socket.write('GET /_ping HTTP/1.0\r\n\r\n'))
  socket.setTimeout(2_000, () => socket.destroy())
  socket.on('data', (data: Buffer) => {
    resolve(data.toString('latin1').includes(' 200 '))
    socket.destroy()
  })
  socket.on('error', () => resolve(false))
  socket.on('close', () => resolve(false))
  return promise
}
