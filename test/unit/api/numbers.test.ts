import { expect, test } from 'vitest'
import { documentedNumber, httpStatusOf } from '../../../api/index.ts'

test.each([
  [200, [200]],
  [400, [400, 436]],
  [401, [401]],
  [403, [441]],
  [404, [435, 442]],
  [409, [438]],
  [413, [406]],
  [429, [429, 432]],
  [500, [500]],
  [502, [407, 403, 430, 434, 439]],
  [503, [405, 437, 443, 444, 445, 449]],
  [504, [433, 446, 447, 450]],
  [null, [499, 202, 455, 456]],
])('HTTP %s answers the numbers %s', (status, numbers) => {
  for (const number of numbers) expect(httpStatusOf(number), String(number)).toBe(status)
})

test('a number that is not documented is an internal error', () => {
  expect(documentedNumber(418)).toBeUndefined()
  expect(httpStatusOf(418)).toBe(500)
})
