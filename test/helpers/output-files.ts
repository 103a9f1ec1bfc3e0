import { closeSync, existsSync, mkdirSync, openSync, readdirSync, renameSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { OutputSource } from '../../runtime-shim/output/index.ts'

/** `TIME STREAM F|P TEXT` as conmon writes it, with nanoseconds below the given microsecond. */
export function conmonLine(timeUs: number, stream: 'stdout' | 'stderr', tag: 'F' | 'P', text: string | Buffer): Buffer {
  const seconds = new Date(Math.floor(timeUs / 1000)).toISOString().slice(0, 19)
  const fraction = String(timeUs % 1_000_000).padStart(6, '0')
  return Buffer.concat([
    Buffer.from(`${seconds}.${fraction}123+00:00 ${stream} ${tag} `),
    Buffer.from(text as string),
    Buffer.from('\n'),
  ])
}

/** Output files of an instance in a directory, with the supervisor's rules: numbers are counted from the files that exist. */
export class OutputFiles implements OutputSource {
  readonly directory: string
  /** Set to let operations fail, as when no supervisor answers. */
  failure: Error | undefined
  forgotten = 0

  constructor(directory: string) {
    this.directory = directory
    mkdirSync(directory, { recursive: true })
    if (this.numbers().length === 0 && !existsSync(this.current)) writeFileSync(this.current, '')
  }

  get current(): string {
    return join(this.directory, 'output.log')
  }

  numbers(): number[] {
    return readdirSync(this.directory)
      .flatMap((name) => (/^output\.log\.\d+$/.test(name) ? [Number(name.slice(11))] : []))
      .sort((a, b) => a - b)
  }

  async open(rotated: number): Promise<{ fd: number; rotated: number } | undefined> {
    if (this.failure !== undefined) throw this.failure
    const newest = (this.numbers().at(-1) ?? 0) + 1
    const number = rotated === 0 ? newest : rotated
    const path = number === newest ? this.current : `${this.current}.${number}`
    return existsSync(path) ? { fd: openSync(path, 'r'), rotated: number } : undefined
  }

  async rotate(): Promise<number> {
    if (this.failure !== undefined) throw this.failure
    return this.rotateNow()
  }

  rotateNow(): number {
    const number = (this.numbers().at(-1) ?? 0) + 1
    renameSync(this.current, `${this.current}.${number}`)
    closeSync(openSync(this.current, 'a'))
    return number
  }

  async forget(upTo: number): Promise<void> {
    for (const number of this.numbers()) if (number <= upTo) unlinkSync(`${this.current}.${number}`)
    this.forgotten = Math.max(this.forgotten, upTo)
  }
}

/** The same, written by a real conmon whose bundle is the directory: it opens a new file when told by the FIFO `ctl`. */
export class ConmonFiles extends OutputFiles {
  override async rotate(): Promise<number> {
    const number = (this.numbers().at(-1) ?? 0) + 1
    renameSync(this.current, `${this.current}.${number}`)
    writeFileSync(join(this.directory, 'ctl'), '2 0 0\n')
    for (let tries = 0; tries < 500 && !existsSync(this.current); tries += 1) await sleep(2)
    return number
  }
}
