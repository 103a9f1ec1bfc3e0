import { hash } from 'node:crypto'
import {
  closeSync,
  existsSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  type Stats,
  statSync,
} from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { dataPaths } from '../../common/index.ts'

/**
 * Generated passwords have one form (`slw_` and 43 characters), bearers are JWTs that name us as their issuer, and the admin token is
 * known: so every secret of a platform can be looked for without the platform telling it.
 */
const PASSWORD = /slw_[A-Za-z0-9_-]{43}/g
const BEARER = /eyJ[A-Za-z0-9_-]{10,}\.(eyJ[A-Za-z0-9_-]{10,})\.[A-Za-z0-9_-]{40,}/g
/** What `slw_` becomes within base64 (a Basic header, X-Registry-Auth), at each of its three places. */
const IN_BASE64 = ['c2x3X', 'Nsd1', 'zbHdf']
const BASE64_RUN = /[A-Za-z0-9+/_-]{50,}/g
const CHUNK_BYTES = 16 * 1024 * 1024
/** Longest secret that may lie across two chunks. */
const OVERLAP_BYTES = 8 * 1024

export interface SearchedPlace {
  dataDirectory: string
  /** Texts that left the platform: answers of failed calls, stderr of commands. */
  said?: readonly string[]
}

/** Every place where a secret of the platform stands and must not: processes, containers, its files, what it said. Call it while it runs. */
export function secretsFound(place: SearchedPlace): string[] {
  const { dataDirectory, said = [] } = place
  if (!existsSync(dataDirectory)) return []
  const tokenFile = dataPaths(dataDirectory).adminToken
  const adminToken = existsSync(tokenFile) ? readFileSync(tokenFile, 'utf8').trim() : undefined
  const search = new Search(adminToken)
  const found = [
    ...filesIn(dataDirectory).flatMap((path) => (path === tokenFile ? [] : search.file(path))),
    ...said.flatMap((text, at) => search.text(`answer ${at}`, Buffer.from(text))),
    ...processes(dataDirectory, search),
  ]
  return [...new Set(found)]
}

/** The same for files of another program. */
export function secretsUnder(directory: string): string[] {
  const search = new Search(undefined)
  return filesIn(directory).flatMap((path) => search.file(path))
}

class Search {
  readonly #adminToken: string | undefined

  constructor(adminToken: string | undefined) {
    this.#adminToken = adminToken
  }

  file(path: string): string[] {
    let descriptor: number
    try {
      descriptor = openSync(path, 'r')
    } catch {
      return [] // it was removed meanwhile
    }
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
    const found: string[] = []
    try {
      for (let offset = 0; ; ) {
        const length = readSync(descriptor, chunk, 0, CHUNK_BYTES, offset)
        found.push(...this.text(path, chunk.subarray(0, length)))
        if (length < CHUNK_BYTES) return found
        offset += length - OVERLAP_BYTES
      }
    } finally {
      closeSync(descriptor)
    }
  }

  text(where: string, bytes: Buffer): string[] {
    return this.secretsIn(bytes).map(({ kind }) => `${kind} in ${where}`)
  }

  secretsIn(bytes: Buffer): { kind: string; secret: string }[] {
    const found: { kind: string; secret: string }[] = []
    if (bytes.includes('slw_')) {
      for (const [secret] of bytes.toString('latin1').matchAll(PASSWORD)) found.push({ kind: 'password', secret })
    }
    if (IN_BASE64.some((part) => bytes.includes(part))) {
      for (const secret of passwordsInBase64(bytes.toString('latin1')))
        found.push({ kind: 'password in base64', secret })
    }
    if (bytes.includes('eyJ')) {
      for (const [secret, payload] of bytes.toString('latin1').matchAll(BEARER)) {
        if (isOurs(payload ?? '')) found.push({ kind: 'bearer', secret })
      }
    }
    if (this.#adminToken !== undefined && bytes.includes(this.#adminToken)) {
      found.push({ kind: 'admin token', secret: this.#adminToken })
    }
    return found
  }
}

function passwordsInBase64(text: string): string[] {
  const runs = [...text.matchAll(BASE64_RUN)].map(([run]) => run)
  return runs
    .filter((run) => IN_BASE64.some((part) => run.includes(part)))
    .flatMap((run) => [0, 1, 2, 3].map((from) => Buffer.from(run.slice(from), 'base64').toString('latin1')))
    .flatMap((decoded) => [...decoded.matchAll(PASSWORD)].map(([secret]) => secret))
}

function isOurs(payload: string): boolean {
  try {
    return (JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as { iss?: unknown }).iss === 'slipway'
  } catch {
    return false
  }
}

/**
 * Regular files of one file system: what is mounted below (roots of instances, network namespaces) lies elsewhere too. Sparse ones (the
 * volumes of `/tmp`) are left out: what a container has in them is read through its processes.
 */
function filesIn(directory: string, device = look(() => lstatSync(directory))?.dev): string[] {
  let entries: ReturnType<typeof list>
  try {
    entries = list(directory)
  } catch {
    return [] // it was removed meanwhile
  }
  return entries.flatMap((entry) => {
    const path = join(directory, entry.name)
    if (!entry.isDirectory() && !entry.isFile()) return []
    const stat = look(() => lstatSync(path))
    if (stat === undefined || stat.dev !== device) return []
    if (entry.isDirectory()) return filesIn(path, device)
    const isSparse = stat.size > CHUNK_BYTES && stat.blocks * 512 < stat.size / 2
    return isSparse ? [] : [path]
  })
}

/** Files and processes end while they are looked at: not every such error is called ENOENT (in /proc it may be ESRCH or EINVAL). */
function look(stat: () => Stats): Stats | undefined {
  try {
    return stat()
  } catch {
    return undefined
  }
}

function list(directory: string) {
  return readdirSync(directory, { withFileTypes: true })
}

/**
 * Arguments and environment of every process on the machine, and `/tmp` of those in this platform's containers. In a process of
 * somebody else (another test has a platform too) only this platform's own secrets count, which its ledger knows by their hash.
 */
function processes(dataDirectory: string, search: Search): string[] {
  const ours = `slipway-${dataPaths(dataDirectory).hash}/`
  const issued = issuedHashes(dataDirectory)
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return pids.flatMap((pid) => {
    const [argv, environment] = [quietly(`/proc/${pid}/cmdline`), quietly(`/proc/${pid}/environ`)]
    const inContainer = quietly(`/proc/${pid}/cgroup`).includes(ours)
    const own = inContainer || argv.includes(dataDirectory) || environment.includes(dataDirectory)
    const told = (what: string, bytes: Buffer): string[] =>
      search
        .secretsIn(bytes)
        .filter(({ kind, secret }) => own || kind === 'admin token' || issued.has(hash('sha256', secret)))
        .map(({ kind }) => `${kind} in the ${what} of process ${pid}: ${argv.toString().split('\0')[0]}`)
    return [
      ...told('arguments', argv),
      ...told('environment', environment),
      ...(inContainer && hasOwnRoot(pid) ? filesIn(`/proc/${pid}/root/tmp`).flatMap((path) => search.file(path)) : []),
    ]
  })
}

/** Monitors of containers are in the platform's control groups too, but on the machine's own files. */
function hasOwnRoot(pid: string): boolean {
  const root = look(() => statSync(`/proc/${pid}/root/`))
  const machine = statSync('/')
  return root !== undefined && (root.dev !== machine.dev || root.ino !== machine.ino)
}

function issuedHashes(dataDirectory: string): Set<string> {
  const path = join(dataPaths(dataDirectory).server, 'slipway.db')
  if (!existsSync(path)) return new Set()
  const database = new DatabaseSync(path, { readOnly: true })
  try {
    const rows = database.prepare('SELECT secret_hash FROM pull_credentials WHERE secret_hash IS NOT NULL').all()
    return new Set(rows.map((row) => String(row['secret_hash'])))
  } catch {
    return new Set() // killed before its first schema was there
  } finally {
    database.close()
  }
}

function quietly(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch {
    return Buffer.alloc(0)
  }
}
