import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import type { Defer } from './scenario.ts'

/** A fresh ext4 file system with a journal, in a file in memory: what a figure says then does not depend on the machine's disk or its history. */
export class BenchDisk {
  readonly root: string
  readonly #home: string

  private constructor(home: string) {
    this.#home = home
    this.root = join(home, 'disk')
  }

  static async make(defer: Defer): Promise<BenchDisk> {
    const disk = new BenchDisk(mkdtempSync('/dev/shm/slipway-bench-'))
    defer(() => disk.remove())
    mkdirSync(disk.root)
    const image = join(disk.#home, 'image')
    await execa('truncate', ['--size=6G', image])
    await execa('mkfs.ext4', ['-q', '-F', '-m', '0', '-E', 'lazy_itable_init=0,lazy_journal_init=0', image])
    await execa('mount', ['-o', 'loop', image, disk.root])
    return disk
  }

  /** Idempotent. */
  async remove(): Promise<void> {
    await execa('umount', ['--lazy', this.root], { reject: false })
    rmSync(this.#home, { recursive: true, force: true })
  }
}
