import { describe, expect, it } from 'vitest'
import { defaultName, parseFunctionFile } from '../../../builder/index.ts'

describe('function.yaml', () => {
  it('gives what it says, and nothing for an empty file', () => {
    const text = 'name: hello\nmemory: 256\nenv:\n  A: "1"\nhandler: src/app.run\n'
    expect(parseFunctionFile(text)).toEqual({ name: 'hello', memory: 256, env: { A: '1' }, handler: 'src/app.run' })
    expect(parseFunctionFile('# nothing\n')).toEqual({})
  })

  it('names every problem at once', () => {
    expect(() => parseFunctionFile('memry: 5\nmemory: 5\ntype: batch\n')).toThrow(
      expect.objectContaining({
        code: 'function-file-invalid',
        message: expect.stringMatching(
          /memry is not known.*memory must be >= 64|memory must be >= 64.*memry is not known/s,
        ),
      }),
    )
  })

  it.each([
    ['broken YAML, with the line', 'a: [1\nb: 2', /line 2/],
    ['the same key twice', 'memory: 128\nmemory: 256', /unique/],
    ['aliases, which could grow without bound', 'env: &a {A: "1"}\nsecrets: *a', /aliases/],
    ['a list', '- a', /must be object/],
    ['keys that nothing acts on yet', 'packages: [ffmpeg]', /packages is not supported by this version/],
  ])('refuses %s', (_title, text, message) => {
    expect(() => parseFunctionFile(text)).toThrow(
      expect.objectContaining({ code: 'function-file-invalid', message: expect.stringMatching(message) }),
    )
  })
})

describe('the name of a function that none was given', () => {
  it.each([
    ['directory', '/a/Hello_World', 'hello-world'],
    ['file', '/a/resize.mjs', 'resize'],
    ['file', '/shop/index.js', 'shop'],
  ] as const)('of a %s %s is %s', (kind, path, name) => {
    expect(defaultName({ kind, path })).toBe(name)
  })

  it('is refused when nothing usable remains', () => {
    expect(() => defaultName({ kind: 'directory', path: '/a/123' })).toThrow(
      expect.objectContaining({ code: 'name-invalid' }),
    )
  })
})
