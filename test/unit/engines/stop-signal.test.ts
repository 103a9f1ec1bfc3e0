import { expect, it } from 'vitest'
import { stopSignal } from '../../../runtime-shim/engines/stop-signal.ts'

it.each([
  [undefined, 15],
  ['', 15],
  ['SIGTERM', 15],
  ['INT', 2],
  ['sigquit', 3],
  ['9', 9],
  ['SIGRTMIN+3', 37],
  ['RTMIN', 34],
  ['999', 15],
  ['SIGNONSENSE', 15],
])('the stop signal %j is %i', (text, expected) => {
  expect(stopSignal(text)).toBe(expected)
})
