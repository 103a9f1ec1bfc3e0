import type { AnswerOf, InvocationRecord, PullCredentialEntry } from '../../api/index.ts'
import { defineCommand, expectPositionals } from '../command.ts'
import { duration, table } from '../output.ts'

type Explanation = AnswerOf<'explainInvocation'>

/** What each phase of a start is, in the order in which they happen. */
const PHASES = [
  ['queue', 'until the start began'],
  ['credential', 'making a credential for the download'],
  ['pull', 'fetching the image'],
  ['unpack', 'within that, unpacking it'],
  ['create', 'making the container'],
  ['start', 'starting its process'],
  ['listen', 'until it listened'],
] as const

export const why = defineCommand({
  usage: 'REQUEST-ID',
  details: 'What a call waited for, how it ended and what that means, and with which credential its image was fetched.',
  options: {},
  async run(context, _values, positionals) {
    expectPositionals(positionals, ['REQUEST-ID'])
    const [requestId = ''] = positionals
    const answer = await context.api().call('explainInvocation', { params: { requestId } })
    context.output.result(answer, explain(answer))
    context.output.next(`slipway logs ${answer.invocation.function} --request-id ${requestId}`)
    return 0
  },
})

/** The answer for people. */
export function explain({ invocation, number, credential }: Explanation): string {
  const { namespace, function: name, version, kind, startedAtMs, errorMessage } = invocation
  return [
    `${kind} call of ${namespace}/${name} ${version}, ${instant(startedAtMs)}`,
    `ended with ${number.number} ${number.name}: ${number.meaning}`,
    ...(errorMessage === null ? [] : [errorMessage]),
    '',
    ...times(invocation),
    ...(credential === null ? [] : ['', ...fetchedWith(credential)]),
  ].join('\n')
}

function times({ coldStart, queueMs, durationMs, instance }: InvocationRecord): string[] {
  const where = instance === null ? 'no instance' : `instance ${instance}`
  const ran: [string, string, string] = ['function', duration(durationMs), `on ${where}`]
  if (coldStart === null) {
    const waited = queueMs === undefined ? 'an instance was free' : 'every instance was busy'
    return table(['PHASE', 'TIME', ''], [['queue', duration(queueMs ?? 0), waited], ran]).split('\n')
  }
  const phases = PHASES.flatMap(([phase, what]): [string, string, string][] => {
    const ms = coldStart.phases[phase]
    return ms === undefined ? [] : [[phase, duration(ms), what]]
  })
  return [
    `waited ${duration(coldStart.totalMs)} for an instance to be started`,
    ...table(['PHASE', 'TIME', ''], [...phases, ran]).split('\n'),
  ]
}

function fetchedWith(credential: PullCredentialEntry): string[] {
  const { id, provider, registry, repository, madeAtMs, firstUsedAtMs, endedAtMs, endReason, bearers, starts } =
    credential
  const used = firstUsedAtMs === null ? 'never used' : `first used ${duration(firstUsedAtMs - madeAtMs)} later`
  const ended =
    endedAtMs === null ? 'still in force' : `ended ${duration(endedAtMs - madeAtMs)} after it was made (${endReason})`
  return [
    `credential ${id} (${provider}), made ${instant(madeAtMs)} to pull from ${registry}/${repository}`,
    `${used}, ${bearers} ${bearers === 1 ? 'bearer' : 'bearers'}, ${ended}`,
    ...table(
      ['START', 'INSTANCE', 'CALLS'],
      starts.map((start) => [
        `${start.namespace}/${start.function} ${start.version}`,
        start.instance ?? '-',
        start.requestIds.join(' ') || '-',
      ]),
    ).split('\n'),
  ]
}

function instant(ms: number): string {
  return new Date(ms).toISOString()
}
