import { defineCommand, expectPositionals, usageError } from '../command.ts'
import { table } from '../output.ts'

const ALLOW_OPTION = {
  allow: { placeholder: 'pull,push:PREFIX/*', many: true, description: 'actions and repositories' },
} as const

export const add = defineCommand({
  usage: 'NAME --allow ACTIONS:REPOSITORIES',
  details: 'The password is shown once and kept nowhere: store it now.',
  options: ALLOW_OPTION,
  async run(context, { allow }, positionals) {
    expectPositionals(positionals, ['NAME'])
    const [username = ''] = positionals
    const api = context.api()
    const login = await api.call('addRegistryUser', { body: { username, allow: required(allow) } })
    context.output.result(login, `username ${login.username}\npassword ${login.password}`)
    context.output.next(`docker login --username ${login.username} REGISTRY`)
    return 0
  },
})

export const list = defineCommand({
  usage: '',
  options: {},
  async run(context, _values, positionals) {
    expectPositionals(positionals, [])
    const answer = await context.api().call('listRegistryUsers', {})
    const rows = answer.users.map(({ username, allow }) => [username, allow.join(' ')])
    context.output.result(answer, table(['NAME', 'RIGHTS'], rows))
    return 0
  },
})

export const rights = defineCommand({
  usage: 'NAME --allow ACTIONS:REPOSITORIES',
  details:
    'The name "anonymous" stands for everybody without a login: registry user rights anonymous --allow pull:PREFIX/*',
  options: ALLOW_OPTION,
  async run(context, { allow }, positionals) {
    expectPositionals(positionals, ['NAME'])
    const [username = ''] = positionals
    const input = { params: { username }, body: { allow: required(allow) } }
    const user = await context.api().call('setRegistryUserRights', input)
    context.output.result(user, `${user.username} may ${user.allow.join(' ')}`)
    context.output.next('slipway registry user list')
    return 0
  },
})

export const revoke = defineCommand({
  usage: 'NAME',
  options: {},
  async run(context, _values, positionals) {
    expectPositionals(positionals, ['NAME'])
    const [username = ''] = positionals
    const answer = await context.api().call('revokeRegistryUser', { params: { username } })
    context.output.result(answer, `revoked ${answer.username}`)
    context.output.next('slipway registry user list')
    return 0
  },
})

export const rotateKeys = defineCommand({
  usage: '',
  details:
    'Happens by itself every 24 hours. Tokens that the former key signed stay good until they expire, within a minute.',
  options: {},
  async run(context, _values, positionals) {
    expectPositionals(positionals, [])
    const key = await context.api().call('rotateRegistryKeys', {})
    context.output.result(key, `new key since ${new Date(key.rotatedAtMs).toISOString()}`)
    return 0
  },
})

function required(allow: string[] | undefined): string[] {
  if (allow === undefined) throw usageError('--allow is missing')
  return allow
}
