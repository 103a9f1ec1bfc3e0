import { accessSync, constants, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { AppError, runAny } from '../common/index.ts'
import { detectCgroups } from './cgroup.ts'
import { platformCgroup } from './names.ts'
import { runtimeMessage } from './runtime-message.ts'

/** The program that makes containers out of bundles. */
export interface OciRuntime {
  name: 'runc' | 'crun'
  path: string
}

/** Finds the runtime's program. Throws `program-missing`. */
export function detectRuntime(name: OciRuntime['name'] = 'runc'): OciRuntime {
  const directories = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin']
  const path = directories.map((directory) => join(directory, name)).find(isExecutable)
  if (path !== undefined) return { name, path }
  throw new AppError(`${name} is not installed`, {
    code: 'program-missing',
    fault: 'dependency',
    hint: `install the package ${name}`,
  })
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

const ABSENT = '/there-is-no-such-program'

/**
 * Why the runtime cannot make containers on this machine, in its own words, or undefined when it can. It is asked for a container with all walls
 * whose program does not exist: that it complains of the program means that everything before has worked. `directory` is for scratch.
 */
export async function whyRuntimeFails(
  runtime: OciRuntime,
  hash: string,
  directory: string,
): Promise<string | undefined> {
  const bundle = mkdtempSync(join(directory, 'runtime-'))
  try {
    for (const name of ['proc', 'root/proc']) mkdirSync(join(bundle, name), { recursive: true })
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(smallestConfig(join(bundle, 'root'), hash)))
    const id = `test-${process.pid}`
    const state = ['--root', join(bundle, 'state')]
    const { stderr } = await runAny(runtime.path, [...state, 'create', '--bundle', bundle, id], { timeoutMs: 10_000 })
    await runAny(runtime.path, [...state, 'delete', '--force', id], { timeoutMs: 10_000 })
    const said = runtimeMessage(stderr)
    return said.includes(ABSENT) ? undefined : said
  } finally {
    rmSync(bundle, { recursive: true, force: true })
    detectCgroups().removeIfEmpty(platformCgroup(hash))
  }
}

function smallestConfig(root: string, hash: string): object {
  return {
    ociVersion: '1.0.2',
    process: { user: { uid: 1000, gid: 1000 }, args: [ABSENT], env: [], cwd: '/', noNewPrivileges: true },
    root: { path: root, readonly: true },
    mounts: [{ destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] }],
    linux: {
      namespaces: ['pid', 'ipc', 'uts', 'mount', 'cgroup', 'network'].map((type) => ({ type })),
      cgroupsPath: `${platformCgroup(hash)}/runtime-test`,
      resources: { memory: { limit: 64 * 1024 * 1024 }, pids: { limit: 32 } },
    },
  }
}

/**
 * The runtime to use: the one that is wished for, or for `auto` crun where it can make containers (it needs two thirds of runc's time), else runc.
 * `reason` is a sentence for `doctor`. Throws `program-missing`.
 */
export async function chooseRuntime(
  wish: OciRuntime['name'] | 'auto',
  hash: string,
  directory: string,
): Promise<{ runtime: OciRuntime; reason: string }> {
  if (wish !== 'auto') return { runtime: detectRuntime(wish), reason: `${wish} was asked for` }
  let crun: OciRuntime
  try {
    crun = detectRuntime('crun')
  } catch {
    return { runtime: detectRuntime('runc'), reason: 'crun is not installed' }
  }
  const why = await whyRuntimeFails(crun, hash, directory)
  if (why === undefined) return { runtime: crun, reason: 'crun can make containers here and is quicker' }
  return { runtime: detectRuntime('runc'), reason: `crun cannot make containers here: ${why}` }
}
