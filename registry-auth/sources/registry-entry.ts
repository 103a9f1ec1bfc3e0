import type { RegistryEntry, RegistryEntryRequest } from '../../api/index.ts'
import { AppError } from '../../common/index.ts'
import { registryOrigin } from '../../oci/index.ts'
import { PUBLIC_REGION, parseEcrHost, ROLE_ARN } from './ecr-names.ts'

export type CheckedEntry = Omit<RegistryEntry, 'host' | 'username' | 'changedAtMs'> & { secretAccessKey?: string }

/** Fills in what the host name says and refuses what does not fit together. Throws `registry-entry-invalid`. */
export function checkedEntry(host: string, request: RegistryEntryRequest): CheckedEntry {
  const known = parseEcrHost(host)
  const { provider = known?.kind ?? 'none', region = known?.region, ...rest } = request
  const problem = aboutProvider(provider, region, request) ?? aboutReach(request)
  if (problem !== undefined) throw invalid(host, ...problem)
  const realm = rest.realm === undefined ? {} : { realm: new URL(rest.realm).origin }
  if (provider === 'none') return { ...rest, ...realm, provider }
  return { ...rest, ...realm, provider, region: provider === 'ecr-public' ? PUBLIC_REGION : (region ?? '') }
}

type Problem = [why: string, hint: string]

function aboutProvider(
  provider: 'none' | 'ecr' | 'ecr-public',
  region: string | undefined,
  { roleArn, externalId, endpoint, accessKeyId, secretAccessKey }: RegistryEntryRequest,
): Problem | undefined {
  if (provider === 'none') {
    const ofAws = roleArn ?? externalId ?? endpoint ?? accessKeyId ?? secretAccessKey
    return ofAws === undefined ? undefined : ['only a provider takes roles, keys and endpoints', 'add --provider ecr']
  }
  if (provider === 'ecr' && region === undefined) {
    return ['it has no region, and its name tells none', 'add --region, for example --region eu-central-1']
  }
  if (roleArn !== undefined && !ROLE_ARN.test(roleArn)) {
    return [`"${roleArn.slice(0, 200)}" is no role`, 'write arn:aws:iam::123456789012:role/NAME']
  }
  if (externalId !== undefined && roleArn === undefined) return ['an external id goes with a role', 'add --role-arn']
  if ((accessKeyId === undefined) !== (secretAccessKey === undefined)) {
    return ['access key id and secret go together', 'give both: --access-key-id, and the secret on stdin']
  }
  if (endpoint === undefined) return undefined
  const local = URL.canParse(endpoint) && registryOrigin(new URL(endpoint).host).protocol === 'http:'
  return aboutUrl('endpoint', endpoint, local)
}

function aboutReach({ realm, plainHttp = false }: RegistryEntryRequest): Problem | undefined {
  return realm === undefined ? undefined : aboutUrl('realm', realm, plainHttp)
}

function aboutUrl(name: string, text: string, http: boolean): Problem | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const plain = url !== undefined && url.username === '' && url.password === '' && url.search === ''
  if (plain && (url.protocol === 'https:' || (http && url.protocol === 'http:'))) return undefined
  const hint =
    name === 'realm'
      ? 'write https://HOST; http only together with --plain-http'
      : 'write https://HOST; http only on loopback'
  return [`"${text.slice(0, 200)}" is no ${name}`, hint]
}

function invalid(host: string, why: string, hint: string): AppError {
  return new AppError(`the entry for ${host} is not valid: ${why}`, {
    code: 'registry-entry-invalid',
    fault: 'user',
    hint,
  })
}
