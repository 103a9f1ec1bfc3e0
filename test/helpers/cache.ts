import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { dataPaths } from '../../common/index.ts'

/** What tests make once and keep between runs, each thing under a name made from its content. As `SLIPWAY_CACHE` it keeps what builds make. */
export const CACHE = join(tmpdir(), 'slipway-test-cache')

/** A content store that holds the base image. */
export const CONTENT_CACHE = join(CACHE, 'content')

/** Compiled code of the commands that tests run: each of them begins in two thirds of the time. */
export const COMPILED_CACHE = join(CACHE, 'compiled')

/** What `slipway up` makes of the sources first. */
export const STRIPPED_CACHE = join(CACHE, 'stripped')
export const SERVER_CACHE = join(CACHE, 'server')

/**
 * Lays the base image's layers into a data directory, as its first pull would: unpacking them takes four seconds of a core, and it is the subject of few tests.
 * Files are links; whole layers are all that has a name there, so that it does not matter who works on the cache meanwhile.
 */
export function seedContent(dataDirectory: string): void {
  const { content } = dataPaths(dataDirectory)
  const parts = ['blobs', 'images', 'layers'].map((name) => join(CONTENT_CACHE, name))
  if (existsSync(content) || !parts.every((part) => existsSync(part))) return
  mkdirSync(content, { mode: 0o700 })
  execFileSync('cp', ['-al', ...parts, content])
}

/** Lays the stripped sources and the server's compiled code into a data directory. */
export function seedCode(dataDirectory: string): void {
  const { code, compiled } = dataPaths(dataDirectory)
  for (const [cache, place] of [
    [STRIPPED_CACHE, code],
    [SERVER_CACHE, compiled],
  ] as const) {
    if (existsSync(place) || !existsSync(cache)) continue
    mkdirSync(dirname(place), { recursive: true })
    execFileSync('cp', ['-al', cache, place])
  }
}
