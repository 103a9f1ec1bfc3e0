import { hash } from 'node:crypto'
import { expect, test } from 'vitest'
import { AccessControl } from '../../../control-plane/access.ts'

const access = new AccessControl(hash('sha256', 'secret'))

test('the administrator may everything, with the token', () => {
  for (const header of ['Bearer secret', 'bearer  secret']) {
    expect(access.require('admin', header).name).toBe('admin')
    expect(access.require('deploy', header, 'default').name).toBe('admin')
  }
})

test.each([
  undefined,
  '',
  'secret',
  'Bearer',
  'Bearer ',
  'Bearer Secret',
  'Bearer secret ',
  'Bearer sec ret',
  'Basic secret',
])('nobody gets in with %j', (header) => {
  expect(() => access.require('view', header)).toThrow(expect.objectContaining({ code: 'unauthorized' }))
  expect(access.require('open', header).name).toBe('nobody')
})

test('a header that was accepted once lets in no other one', () => {
  const access = new AccessControl(hash('sha256', 'secret'))
  for (const header of ['', 'Bearer secreT', 'Bearer secret']) {
    if (header === 'Bearer secret') expect(access.require('view', header).name).toBe('admin')
    else expect(() => access.require('view', header)).toThrow(expect.objectContaining({ code: 'unauthorized' }))
  }
  expect(access.require('view', 'Bearer secret').name).toBe('admin')
  for (const header of [undefined, '', 'Bearer secreT', 'Bearer secret ', 'Bearer secre']) {
    expect(() => access.require('view', header)).toThrow(expect.objectContaining({ code: 'unauthorized' }))
  }
})

test('a hash that is none is a mistake of the wiring', () => {
  expect(() => new AccessControl('abc')).toThrow('64 hex digits')
})
