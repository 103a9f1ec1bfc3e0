import type { RegistryEntry, RegistryEntryRequest } from '../../api/index.ts'
import { type Context, defineCommand, expectPositionals, usageError, type Values } from '../command.ts'
import { table } from '../output.ts'
import { readSecret } from '../read-secret.ts'

const ENTRY_OPTIONS = {
  provider: {
    placeholder: 'none|ecr|ecr-public',
    description: 'where its credentials come from (default: by its name)',
  },
  region: { placeholder: 'NAME', description: 'of ECR (default: by its name)' },
  'role-arn': { placeholder: 'ARN', description: 'assumed for each pull, with rights narrowed to its repository' },
  'external-id': { placeholder: 'ID', description: 'that the role asks for' },
  'access-key-id': { placeholder: 'ID', description: 'of AWS; the secret is read from stdin or asked for' },
  endpoint: { placeholder: 'URL', description: 'of the ECR API, where it is one of your own' },
  realm: { placeholder: 'https://HOST', description: 'a token server on another host that may see the credential' },
  'plain-http': { description: 'it is spoken to without TLS' },
  'allow-private': { description: 'it may lie in a private network, and send on to one' },
} as const

export const add = defineCommand({
  usage: 'HOST',
  details:
    'Says where credentials for a registry come from, and what its clients may do beyond the rules (docs/SECURITY.md).\n' +
    'Replaces what was said before; a login made with "registry login" stays.',
  options: ENTRY_OPTIONS,
  async run(context, values, positionals) {
    expectPositionals(positionals, ['HOST'])
    const [host = ''] = positionals
    const body = await requestFrom(context, values)
    const entry = await context.api().call('putRegistry', { params: { host }, body })
    context.output.result(entry, `${entry.host}: ${describe(entry)}`)
    context.output.next(`slipway registry test ${entry.host}/REPOSITORY:TAG`)
    return 0
  },
})

export const hosts = defineCommand({
  usage: '',
  options: {},
  async run(context, _values, positionals) {
    expectPositionals(positionals, [])
    const answer = await context.api().call('listRegistries', {})
    const rows = answer.registries.map((entry) => [entry.host, entry.provider, describe(entry)])
    context.output.result(answer, table(['HOST', 'PROVIDER', 'SETTINGS'], rows))
    return 0
  },
})

export const remove = defineCommand({
  usage: 'HOST',
  options: {},
  async run(context, _values, positionals) {
    expectPositionals(positionals, ['HOST'])
    const [host = ''] = positionals
    const entry = await context.api().call('removeRegistry', { params: { host } })
    context.output.result(entry, `removed ${entry.host}`)
    context.output.next('slipway registry hosts')
    return 0
  },
})

async function requestFrom(context: Context, values: Values<typeof ENTRY_OPTIONS>): Promise<RegistryEntryRequest> {
  const { region, endpoint, realm } = values
  const accessKeyId = values['access-key-id']
  const keys =
    accessKeyId === undefined
      ? {}
      : { accessKeyId, secretAccessKey: await readSecret(context, `secret of access key ${accessKeyId}`) }
  return {
    ...(values.provider === undefined ? {} : { provider: providerNamed(values.provider) }),
    ...(region === undefined ? {} : { region }),
    ...(values['role-arn'] === undefined ? {} : { roleArn: values['role-arn'] }),
    ...(values['external-id'] === undefined ? {} : { externalId: values['external-id'] }),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(realm === undefined ? {} : { realm }),
    ...(values['plain-http'] === true ? { plainHttp: true } : {}),
    ...(values['allow-private'] === true ? { allowPrivate: true } : {}),
    ...keys,
  }
}

function providerNamed(text: string): 'none' | 'ecr' | 'ecr-public' {
  if (text === 'none' || text === 'ecr' || text === 'ecr-public') return text
  throw usageError(`--provider is none, ecr or ecr-public, not "${text.slice(0, 60)}"`)
}

function describe(entry: RegistryEntry): string {
  const { username, region, roleArn, accessKeyId, endpoint, realm, plainHttp, allowPrivate } = entry
  const parts = [
    username === undefined ? '' : `user ${username}`,
    region ?? '',
    roleArn === undefined ? '' : `as ${roleArn}`,
    accessKeyId === undefined ? '' : `key ${accessKeyId}`,
    endpoint === undefined ? '' : `endpoint ${endpoint}`,
    realm === undefined ? '' : `realm ${realm}`,
    plainHttp === true ? 'plain HTTP' : '',
    allowPrivate === true ? 'private networks' : '',
  ]
  return parts.filter((part) => part !== '').join(', ') || 'no settings of its own'
}
