import { chownSync, closeSync, fstatSync, openSync, readdirSync, readSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { bootId, errnoOf } from '../../common/index.ts'
import {
  type CallLease,
  decodeLeases,
  LEASE_FILE_BYTES,
  readBoot,
  SLOT_BYTES,
  usedBytes,
  writeBoot,
} from './lease-layout.ts'

const PREFIX = 'leases-'

/** The lease files of all server generations: that of the living server, and those of dead ones until their last deadline. */
export class LeaseWatch {
  readonly #directory: string
  readonly #boot = bootId()
  #living = 0

  constructor(runDirectory: string) {
    this.#directory = runDirectory
  }

  /** Makes the preallocated file of a new server, which its user may write. */
  create(generation: number, uid: number, gid: number): string {
    const path = this.#path(generation)
    const fd = openSync(path, 'w', 0o600)
    try {
      // Written, not only sized: a full disk must not fail a call at its lease.
      const file = Buffer.alloc(LEASE_FILE_BYTES)
      writeBoot(file, bootId())
      writeSync(fd, file, 0, LEASE_FILE_BYTES, 0)
    } finally {
      closeSync(fd)
    }
    if (process.getuid?.() === 0) chownSync(path, uid, gid)
    this.#living = generation
    return path
  }

  /** After a restart of the supervisor: the generation that the living server writes. */
  adopt(generation: number): void {
    this.#living = generation
  }

  /** Open leases of the living server and of dead ones, apart: what a dead server left open is never closed by anybody. */
  read(nowMs: number): { living: CallLease[]; orphaned: CallLease[] } {
    const orphaned = this.generations()
      .filter((generation) => generation !== this.#living)
      .flatMap((generation) => this.#readOne(generation, nowMs))
    return { living: this.#living === 0 ? [] : this.#readOne(this.#living, nowMs), orphaned }
  }

  /** Unlinks files of dead servers in which nothing is open any more. */
  forgetDead(stillOpen: (lease: CallLease) => boolean, nowMs: number): void {
    for (const generation of this.generations()) {
      if (generation === this.#living) continue
      if (!this.#readOne(generation, nowMs).some(stillOpen)) rmSync(this.#path(generation), { force: true })
    }
  }

  generations(): number[] {
    return readdirSync(this.#directory)
      .filter((name) => name.startsWith(PREFIX))
      .map((name) => Number(name.slice(PREFIX.length)))
      .filter((generation) => Number.isSafeInteger(generation) && generation > 0)
  }

  #path(generation: number): string {
    return join(this.#directory, `${PREFIX}${generation}`)
  }

  #readOne(generation: number, nowMs: number): CallLease[] {
    let fd: number
    try {
      fd = openSync(this.#path(generation), 'r')
    } catch (thrown) {
      if (errnoOf(thrown) === 'ENOENT') return []
      throw thrown
    }
    try {
      const header = Buffer.alloc(SLOT_BYTES)
      if (fstatSync(fd).size < SLOT_BYTES || readSync(fd, header, 0, SLOT_BYTES, 0) < SLOT_BYTES) return []
      if (readBoot(header) !== this.#boot) return []
      const bytes = Buffer.alloc(usedBytes(header))
      const length = readSync(fd, bytes, 0, bytes.length, 0)
      return decodeLeases(bytes.subarray(0, length), nowMs)
    } finally {
      closeSync(fd)
    }
  }
}
