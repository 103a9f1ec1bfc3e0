import type { RegistryStep } from '../../api/index.ts'
import { AppError } from '../../common/index.ts'
import { type Context, defineCommand, expectPositionals, usageError } from '../command.ts'
import { duration, type Output } from '../output.ts'
import { readSecret } from '../read-secret.ts'

export const login = defineCommand({
  usage: 'HOST --username NAME',
  details:
    'Tries user name and password at the registry, step by step, and keeps them encrypted in the platform if it takes them.\n' +
    'The password is asked for, or read from stdin; it can never be read again.',
  options: { username: { short: 'u', placeholder: 'NAME', description: 'at the registry' } },
  async run(context, { username }, positionals) {
    expectPositionals(positionals, ['HOST'])
    const [host = ''] = positionals
    if (username === undefined) throw usageError('--username is missing')
    const password = await readSecret(context, `password of ${username} at ${host}`)
    const input = { params: { host }, body: { username, password } }
    await tellSteps(context, { registry: host }, context.api().lines('loginRegistry', input))
    context.output.next(`slipway registry test ${host}/REPOSITORY:TAG`)
    return 0
  },
})

export const logout = defineCommand({
  usage: 'HOST',
  options: {},
  async run(context, _values, positionals) {
    expectPositionals(positionals, ['HOST'])
    const [host = ''] = positionals
    const entry = await context.api().call('logoutRegistry', { params: { host } })
    context.output.result(entry, `the login for ${entry.host} is forgotten`)
    context.output.next('slipway registry hosts')
    return 0
  },
})

export const test = defineCommand({
  usage: 'REF',
  details:
    'Accesses [HOST/]NAME[:TAG][@DIGEST] as a pull of the platform would: credential, registry, token, manifest, blob. Says of each step\n' +
    'what was asked, what was answered, and what is missing.',
  options: { push: { description: 'also start an upload, and give it up' } },
  async run(context, { push = false }, positionals) {
    expectPositionals(positionals, ['REF'])
    const [reference = ''] = positionals
    const lines = context.api().lines('testRegistry', { body: { reference, push } })
    await tellSteps(context, { reference }, lines)
    context.output.next(`slipway deploy --image ${reference}`)
    return 0
  },
})

/** Steps on stderr as they come, all of them as the result. Throws the error of the step that failed. */
async function tellSteps(
  { output }: Context,
  about: Record<string, string>,
  lines: AsyncIterable<unknown>,
): Promise<void> {
  const steps: RegistryStep[] = []
  for await (const line of lines) {
    const step = line as RegistryStep
    steps.push(step)
    tellStep(output, step)
  }
  const failed = steps.find(({ ok }) => !ok)
  output.result({ ...about, ok: failed === undefined, steps }, failed === undefined ? 'all steps passed' : '')
  if (failed === undefined) return
  const { code = 'registry-error', hint } = failed.error ?? {}
  throw new AppError(failed.detail, { code, ...(hint === undefined ? {} : { hint }) })
}

function tellStep(output: Output, { step, ok, detail, durationMs, exchanges }: RegistryStep): void {
  for (const { asked, authorization, status, challenge } of exchanges) {
    const shown = authorization === 'none' ? '' : ` with ${authorization}`
    output.progress(`  ${asked}${shown} -> ${status}${challenge === undefined ? '' : ` ${challenge}`}`)
  }
  output.progress(`${step.padEnd(10)} ${ok ? 'ok' : 'FAILED'} in ${duration(durationMs)}: ${detail}`)
}
