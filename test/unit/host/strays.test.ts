import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { identify } from '../../../common/index.ts'
import { endProcess } from '../../../runtime-shim/host/keeper.ts'
import { endStrays, platformMark } from '../../../runtime-shim/host/strays.ts'

const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

function start(hash: string, command = 'exec sleep 60'): ChildProcess & { pid: number } {
  const child = spawn('sh', ['-c', command], { env: { PATH: process.env['PATH'] ?? '', ...platformMark(hash) } })
  children.push(child)
  if (child.pid === undefined) throw new Error('sh cannot be started')
  return child as ChildProcess & { pid: number }
}

const hashes = (): [string, string] => [randomBytes(4).toString('hex'), randomBytes(4).toString('hex')]

describe('processes that nobody wrote down', () => {
  it('are found by their platform and ended; those that are known, and another platform’s, are not', async () => {
    const [own, other] = hashes()
    const [stray, known, foreign] = [start(own), start(own), start(other)]
    const ended = once(stray, 'exit')
    expect(endStrays(own, [identify(known.pid), undefined]).map(({ pid }) => pid)).toEqual([stray.pid])
    expect((await ended)[1]).toBe('SIGKILL')
    expect([identify(known.pid)?.pid, identify(foreign.pid)?.pid]).toEqual([known.pid, foreign.pid])
  })
})

describe('a process that is asked to end', () => {
  const IGNORES = 'trap "" TERM; while :; do sleep 0.05; done'

  it('has its grace anew as often as it makes progress', async () => {
    const child = start(hashes()[0], IGNORES)
    await new Promise((resolve) => setTimeout(resolve, 100))
    const identity = identify(child.pid)
    if (identity === undefined) throw new Error('it has ended')
    const began = performance.now()
    const progress = (): number => Math.min(5, Math.floor((performance.now() - began) / 100))
    await endProcess(identity, 200, progress)
    expect(identify(child.pid)).toBeUndefined()
    expect(performance.now() - began).toBeGreaterThan(650)
  })
})
