import { describe, expect, test } from 'vitest'
import { pathOf, ROUTES, type RouteDescriptor } from '../../../api/index.ts'

const routes = Object.entries(ROUTES) as [string, RouteDescriptor][]

describe('the routes of the API', () => {
  test('are distinct in method and path', () => {
    const keys = routes.map(([, { method, path }]) => `${method} ${path.replaceAll(/\{\w+\}/g, '{}')}`)
    expect(new Set(keys).size).toBe(keys.length)
  })

  test.each(routes)('%s describes exactly the parameters of its path', (_name, { path, params }) => {
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1])
    expect(Object.keys(params?.properties ?? {})).toEqual(inPath)
  })

  test('only the health check and the token server are open', () => {
    expect(routes.filter(([, { access }]) => access === 'open').map(([name]) => name)).toEqual([
      'health',
      'registryToken',
      'registryTokenPost',
    ])
  })

  test('a path is filled in percent-encoded, so that a parameter never becomes two', () => {
    expect(pathOf('getFunction', { namespace: 'a/../b', name: 'c?d' })).toBe(
      '/v1/namespaces/a%2F..%2Fb/functions/c%3Fd',
    )
  })
})
