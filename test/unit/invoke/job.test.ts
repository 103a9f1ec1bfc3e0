import { describe, expect, it } from 'vitest'
import { type JobEnder, jobEnd, MAX_JOB_EVENT_BYTES } from '../../../runtime-shim/invoke/job.ts'

describe('the end of a job', () => {
  it.each<[string, number, boolean, JobEnder | undefined, number | null]>([
    ['exit 0', 0, false, undefined, null],
    ['any other exit code', 1, false, undefined, 439],
    ['an exit code that looks like a signal', 143, false, undefined, 439],
    ['a kill for memory', 137, true, undefined, 434],
    ['its deadline, killed', 137, false, 'deadline', 433],
    ['its deadline, though it exited with 0 when it was asked', 0, false, 'deadline', 433],
    ['a cancellation that killed it', 137, false, 'cancel', 499],
    ['a cancellation that it was asked for and ended well after', 0, false, 'cancel', null],
    ['a cancellation that it was asked for and failed after', 3, false, 'cancel', 439],
    ['the end of its instance by request', 137, false, 'stop', 499],
  ])('by %s has its number', (_title, code, oom, ender, number) => {
    const { failure, exitCode } = jobEnd({ code, signal: null, oom }, ender, 5)
    expect(failure?.number ?? null).toBe(number)
    expect(exitCode).toBe(code)
  })

  it('has room for an event of 128 KiB less the name of its variable', () => {
    expect(MAX_JOB_EVENT_BYTES).toBe(131_044)
  })
})
