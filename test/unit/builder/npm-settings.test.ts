import { describe, expect, it } from 'vitest'
import { interpretNpmSettings, lentVariables } from '../../../builder/npm-settings.ts'

const REGISTRY = 'https://packages.corp.example/npm/'

describe("the machine's npm settings", () => {
  it('give registry, certificates and TLS checking', () => {
    const settings = interpretNpmSettings({ registry: REGISTRY, ca: ['PEM1', 'PEM2'], 'strict-ssl': false }, {})
    expect(settings).toEqual({
      registry: new URL(REGISTRY),
      strictSsl: false,
      certificates: 'PEM1\nPEM2',
      upstreamProxy: undefined,
    })
  })

  it.each([
    ['none named', {}, undefined],
    ['for https', { 'https-proxy': 'http://p.example:3128', proxy: 'http://q.example' }, 'http://p.example:3128/'],
    ['for all', { proxy: 'http://q.example' }, 'http://q.example/'],
    ['bypassed by domain', { proxy: 'http://q.example', noproxy: ['.corp.example'] }, undefined],
    ['not bypassed by a mere suffix', { proxy: 'http://q.example', noproxy: ['orp.example'] }, 'http://q.example/'],
  ])('proxy: %s', (_title, config, expected) => {
    expect(interpretNpmSettings({ registry: REGISTRY, ...config }, {}).upstreamProxy?.href).toBe(expected)
  })

  it('lend npm its own variables and nothing else of the environment', () => {
    const env = {
      HOME: '/root',
      npm_config_registry: REGISTRY,
      AWS_SECRET_ACCESS_KEY: 'secret',
      GITHUB_TOKEN: 'secret',
      HTTPS_PROXY: 'http://p',
      NODE_OPTIONS: '--inspect',
    }
    expect(Object.keys(lentVariables(env)).toSorted()).toEqual(['HOME', 'HTTPS_PROXY', 'npm_config_registry'])
  })
})
