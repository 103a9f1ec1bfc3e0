import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { run } from '../../common/index.ts'
import { ConmonFiles } from './output-files.ts'

const SYSTEM_DIRECTORIES = ['/usr', '/bin', '/lib', '/lib64'].filter((path) => existsSync(path))

/** A program of this machine in a container under runc, its output held by a real conmon in k8s-file format. */
export class ConmonProgram {
  readonly files: ConmonFiles
  readonly #id = `slipway-output-${randomBytes(4).toString('hex')}`
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
    mkdirSync(directory, { recursive: true })
    this.files = new ConmonFiles(directory)
    rmSync(this.files.current)
  }

  /** Runs `args` to its end in the background. */
  async start(args: string[]): Promise<void> {
    const at = (name: string): string => join(this.#directory, name)
    for (const path of ['/proc', '/tmp', ...SYSTEM_DIRECTORIES]) mkdirSync(at(`rootfs${path}`), { recursive: true })
    mkdirSync(at('exits'), { recursive: true })
    writeFileSync(at('config.json'), JSON.stringify(this.#config(args)))
    const child = spawn(
      'conmon',
      [
        ...['--api-version', '1', '-c', this.#id, '-u', this.#id, '-n', this.#id, '-r', '/usr/sbin/runc'],
        ...['--runtime-arg', '--root', '--runtime-arg', at('state'), '-b', this.#directory, '-p', at('pid')],
        ...[
          '--exit-dir',
          at('exits'),
          '--socket-dir-path',
          this.#directory,
          '-l',
          `k8s-file:${this.files.current}`,
          '--log-level',
          'warning',
          '--no-sync-log',
        ],
      ],
      {
        stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
        detached: true,
        env: { PATH: process.env['PATH'], _OCI_SYNCPIPE: '3', _OCI_STARTPIPE: '4' },
      },
    )
    const go = child.stdio[4] as Duplex
    go.end('\0')
    const answer = JSON.parse(await firstLine(child.stdio[3] as Duplex)) as { data: number; message?: string }
    for (const stream of child.stdio) stream?.destroy()
    child.unref()
    if (answer.data < 0) throw new Error(answer.message)
    await run('/usr/sbin/runc', ['--root', at('state'), 'start', this.#id])
  }

  /** Makes an empty file that the program can see. */
  touch(path: string): void {
    writeFileSync(join(this.#directory, 'rootfs', path), '')
  }

  /** Settles when conmon has written the exit status. */
  async exited(): Promise<number> {
    const path = join(this.#directory, 'exits', this.#id)
    for (let tries = 0; tries < 6000; tries += 1) {
      if (existsSync(path)) return Number(readFileSync(path, 'utf8'))
      await sleep(5)
    }
    throw new Error('no exit within 30 s')
  }

  async remove(): Promise<void> {
    await run('/usr/sbin/runc', ['--root', join(this.#directory, 'state'), 'delete', '-f', this.#id])
  }

  #config(args: string[]): object {
    return {
      ociVersion: '1.0.2',
      process: { user: { uid: 0, gid: 0 }, args, cwd: '/', env: ['PATH=/usr/bin:/bin'], noNewPrivileges: true },
      root: { path: 'rootfs', readonly: true },
      mounts: [
        { destination: '/proc', type: 'proc', source: 'proc' },
        { destination: '/dev', type: 'tmpfs', source: 'tmpfs' },
        ...SYSTEM_DIRECTORIES.map((path) => ({
          destination: path,
          type: 'bind',
          source: path,
          options: ['rbind', 'ro'],
        })),
      ],
      linux: {
        namespaces: [{ type: 'pid' }, { type: 'mount' }, { type: 'ipc' }, { type: 'uts' }, { type: 'network' }],
        cgroupsPath: `/${this.#id}`,
      },
    }
  }
}

async function firstLine(stream: Duplex): Promise<string> {
  const [chunk] = (await once(stream, 'data')) as [Buffer]
  return chunk.toString('utf8')
}
