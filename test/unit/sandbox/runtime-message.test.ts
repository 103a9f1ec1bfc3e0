import { describe, expect, it } from 'vitest'
import { runtimeMessage } from '../../../sandbox/runtime-message.ts'

describe('the message of the runtime', () => {
  it('is taken out of the log line that conmon passes on, unquoted', () => {
    const line = String.raw`time="2026-11-21T10:00:00Z" level=error msg="runc create failed: exec: \"/nope\": stat /nope: no such file or directory"`
    expect(runtimeMessage(line)).toBe('runc create failed: exec: "/nope": stat /nope: no such file or directory')
  })

  it('is the whole text where it is no log line', () => {
    expect(runtimeMessage(' container create failed: x\n')).toBe('container create failed: x')
  })
})
