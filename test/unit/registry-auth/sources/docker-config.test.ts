import { describe, expect, it } from 'vitest'
import { lookUp } from '../../../../registry-auth/sources/docker-config.ts'

const auth = (text: string) => ({ auth: Buffer.from(text).toString('base64') })
const ask = (config: unknown, registry: string, repository = 'team/app') =>
  lookUp(JSON.stringify(config), 'config.json', registry, repository)
const basic = (username: string, password: string) => ({
  kind: 'credential',
  credential: { kind: 'basic', username, password },
})

describe('a configuration of docker or podman', () => {
  it('gives user and password of the registry, divided at the first colon', () => {
    expect(ask({ auths: { 'r.example:5000': auth('u:p:q') } }, 'r.example:5000')).toEqual(basic('u', 'p:q'))
  })

  const keys: [string, string][] = [
    ['r.example', 'r.example'],
    ['https://r.example', 'r.example'],
    ['https://r.example/v1/', 'r.example'],
    ['http://r.example/v2', 'r.example'],
    ['R.Example', 'r.example'],
    ['https://index.docker.io/v1/', 'docker.io'],
    ['docker.io', 'registry-1.docker.io'],
    ['registry-1.docker.io', 'docker.io'],
  ]
  it.each(keys)('with the key %s is meant for %s', (key, registry) => {
    expect(ask({ auths: { [key]: auth('u:p') } }, registry)).toEqual(basic('u', 'p'))
  })

  const narrowed: [string, string][] = [
    ['team/app/web', 'web'],
    ['team/app', 'app'],
    ['team/other', 'team'],
    ['teams/app', 'host'],
    ['v1', 'own-v1'],
  ]
  it.each(narrowed)('answers for the repository %s by its longest key: %s', (repository, username) => {
    const auths = {
      'r.example': auth('host:p'),
      'r.example/team': auth('team:p'),
      'r.example/team/app': auth('app:p'),
      'r.example/team/app/web': auth('web:p'),
      'r.example/v1': auth('own-v1:p'),
    }
    expect(ask({ auths }, 'r.example', repository)).toEqual(basic(username, 'p'))
  })

  it('may hold a refresh token or a bearer', () => {
    expect(ask({ auths: { 'r.example': { identitytoken: 'refresh' } } }, 'r.example')).toEqual({
      kind: 'credential',
      credential: { kind: 'identity', token: 'refresh' },
    })
    expect(ask({ auths: { 'r.example': { registrytoken: 'bearer' } } }, 'r.example')).toEqual({
      kind: 'credential',
      credential: { kind: 'bearer', token: 'bearer' },
    })
  })

  it('names the helper of the registry before the common one, and keeps its own entry for when that knows nothing', () => {
    const config = {
      auths: { 'r.example': auth('u:p') },
      credsStore: 'common',
      credHelpers: { 'ecr.example': 'ecr-login' },
    }
    expect(ask(config, 'ecr.example')).toMatchObject({ kind: 'helper', suffix: 'ecr-login', fallback: undefined })
    expect(ask(config, 'r.example')).toMatchObject({
      kind: 'helper',
      suffix: 'common',
      serverUrl: 'r.example',
      fallback: { username: 'u' },
    })
    expect(ask(config, 'docker.io')).toMatchObject({ suffix: 'common', serverUrl: 'https://index.docker.io/v1/' })
  })

  it('says nothing of other registries, and nothing by an empty entry', () => {
    expect(ask({ auths: { 'r.example': {} } }, 'r.example')).toBeUndefined()
    expect(ask({ auths: { 'r.example.evil': auth('u:p') } }, 'r.example')).toBeUndefined()
    expect(ask({}, 'r.example')).toBeUndefined()
  })

  const broken: [string, string][] = [
    ['{', 'it is no JSON'],
    ['[]', 'it is no object'],
    ['{"auths": []}', 'auths and credHelpers must be objects'],
    ['{"credsStore": 1}', 'credsStore must be a text'],
    ['{"auths": {"r.example": {"auth": "OnA="}}}', 'auth is not the base64 of USER:PASSWORD'],
  ]
  it.each(broken)('that is broken is named: %s', (text, why) => {
    expect(() => lookUp(text, 'config.json', 'r.example', 'a')).toThrow(
      expect.objectContaining({ code: 'docker-config-invalid', message: expect.stringContaining(why) }),
    )
  })
})
