import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { codeArguments, codeEnvironment, stripCode } from '../../../common/index.ts'
import { PROJECT } from '../../helpers/platform.ts'

let directory: string
let cache: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'slipway-code-'))
  cache = join(directory, 'cache')
  const common = join(directory, 'code/common')
  mkdirSync(common, { recursive: true })
  for (const name of ['strip-code.mjs', 'load-stripped.mjs'])
    writeFileSync(join(common, name), readFileSync(join(PROJECT, 'common', name)))
  writeFileSync(join(directory, 'code/main.ts'), "const word: string = 'typed'\nconsole.log(word)\n")
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const code = (): string => join(directory, 'code')

async function run(): Promise<string> {
  // Without the compiler, what is not found stripped does not run.
  const args = ['--no-strip-types', ...codeArguments(code()), join(code(), 'main.ts')]
  const { stdout, stderr } = await execa(process.execPath, args, { env: codeEnvironment(cache), reject: false })
  return stdout === '' ? stderr : stdout
}

describe('the code of lasting processes', () => {
  it('runs from what was stripped ahead, without the compiler', async () => {
    stripCode(code(), cache)
    expect(await run()).toBe('typed')
  })

  it('is never a file that a crash left half written, and is made anew', async () => {
    stripCode(code(), cache)
    const [name = ''] = readdirSync(cache)
    const whole = readFileSync(join(cache, name), 'utf8')
    writeFileSync(join(cache, name), whole.replace('word', 'wrod'))
    expect(await run()).not.toBe('typed')
    stripCode(code(), cache)
    expect(readFileSync(join(cache, name), 'utf8')).toBe(whole)
  })

  it('keeps nothing of sources that are gone', async () => {
    stripCode(code(), cache)
    writeFileSync(join(code(), 'main.ts'), "console.log('other' as string)\n")
    stripCode(code(), cache)
    expect(readdirSync(cache)).toHaveLength(1)
    expect(await run()).toBe('other')
  })
})
