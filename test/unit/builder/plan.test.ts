import { describe, expect, it } from 'vitest'
import type { Detected, Start } from '../../../builder/detect.ts'
import { parsePackageJson } from '../../../builder/package-json.ts'
import { planBuild } from '../../../builder/plan.ts'
import { digestOf } from '../../../oci/index.ts'

const BASE = digestOf('base')
const ADAPTER = ['/usr/local/bin/node', '/adapter.mjs']

function detected(changes: Partial<Detected> = {}): Detected {
  const start = { kind: 'handler', handler: 'index.main_handler', contract: 'scf' } as const
  return { runtime: 'node26', type: 'event', start, package: undefined, lockFile: undefined, ...changes }
}

describe('the plan of a build', () => {
  it('starts an event function by the adapter of its base, with handler and contract as arguments', () => {
    const plan = planBuild(detected(), BASE, ADAPTER)
    expect(plan.changes.entrypoint).toEqual([...ADAPTER, 'index.main_handler', 'scf'])
    expect(plan.changes).toMatchObject({ workingDir: '/var/user', user: '1000:1000', exposedPorts: ['9000/tcp'] })
    expect(plan.dependencies).toBe('none')
  })

  it('starts a web function by its own command and finds programs of its dependencies', () => {
    const start: Start = { kind: 'command', command: ['next', 'start'], args: ['-p', '9000'], from: 'package.json' }
    const plan = planBuild(detected({ type: 'web', start }), BASE, ADAPTER)
    expect(plan.changes).toMatchObject({ entrypoint: ['next', 'start'], cmd: ['-p', '9000'] })
    expect(plan.changes.env?.['PATH']).toMatch(/^\/var\/user\/node_modules\/\.bin:/)
  })

  it('installs what package.json names, by the lock file where there is one', () => {
    const withDependencies = parsePackageJson('{"dependencies":{"a":"1"}}')
    expect(planBuild(detected({ package: withDependencies }), BASE, ADAPTER).dependencies).toBe('resolve')
    const locked = planBuild(detected({ package: withDependencies, lockFile: 'package-lock.json' }), BASE, ADAPTER)
    expect(locked.dependencies).toBe('locked')
    const none = parsePackageJson('{"devDependencies":{"a":"1"},"scripts":{"start":" "}}')
    expect(planBuild(detected({ package: none, lockFile: 'package-lock.json' }), BASE, ADAPTER).dependencies).toBe(
      'none',
    )
    expect(none.startScript).toBeUndefined()
  })

  it.each([
    ['git+https://host.example/a.git', true],
    ['https://host.example/a.tgz', true],
    ['github:owner/name', true],
    ['owner/name', true],
    ['file:../a', true],
    ['./a', true],
    ['workspace:*', true],
    ['^1.2.3 || ~2', false],
    ['npm:@scope/other@1', false],
    ['latest', false],
    ['', false],
  ])('a dependency on "%s" is refused: %s', (specifier, refused) => {
    const parse = (): unknown => parsePackageJson(JSON.stringify({ dependencies: { a: specifier } }))
    if (refused) expect(parse).toThrow(expect.objectContaining({ code: 'build-unsupported' }))
    else expect(parse).not.toThrow()
  })

  it('has one key for dependencies that mean the same, and another for any that do not', () => {
    const key = (text: string): string | undefined => parsePackageJson(text).dependencyKey
    const one = key('{"name":"a","dependencies":{"a":"1","b":"2"}}')
    expect(key('{"dependencies":{"b":"2","a":"1"},"version":"2"}')).toBe(one)
    expect(key('{"dependencies":{"a":"1","b":"2"},"overrides":{"c":"3"}}')).not.toBe(one)
    expect(key('{"dependencies":{"a":"1"},"optionalDependencies":{"b":"2"}}')).not.toBe(one)
  })
})
