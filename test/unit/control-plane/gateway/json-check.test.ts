import { afterEach, describe, expect, it } from 'vitest'
import { JsonCheck } from '../../../../control-plane/gateway/json-check.ts'

const check = new JsonCheck()
afterEach(() => check.close())

const large = (inside: string): Buffer => Buffer.from(`["${'x'.repeat(300_000)}", ${inside}]`)

describe('the check of an event', () => {
  it.each([
    ['{"a": [1, "ü"]}', true],
    ['', false],
    ['{"a":', false],
    ['"a" "b"', false],
  ])('of %s is made at once', (text, isJson) => {
    expect(check.isJson(Buffer.from(text))).toBe(isJson)
  })

  it('refuses what is no UTF-8', () => {
    expect(check.isJson(Buffer.from([0x22, 0xff, 0x22]))).toBe(false)
  })

  it('of a large one is made by another thread, which lets this one go on', async () => {
    const answers = [check.isJson(large('1')), check.isJson(large('1,')), check.isJson(large('{"a": null}'))]
    expect(answers.every((answer) => answer instanceof Promise)).toBe(true)
    expect(await Promise.all(answers.map(async (answer) => answer))).toEqual([true, false, true])
  })

  it('survives the end of that thread', async () => {
    const answer = check.isJson(large('1'))
    await check.close()
    expect(await answer).toBe(false)
    expect(await check.isJson(large('1'))).toBe(true)
  })
})
