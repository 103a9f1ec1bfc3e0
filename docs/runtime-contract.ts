import { readFileSync } from 'node:fs'
import { type AssertionId, DEVIATIONS, PROMISES } from '../test/runtime-contract/promises.ts'

const GROUPS: Record<string, string> = {
  A: 'How a process starts',
  B: 'Environment',
  C: 'Files',
  D: 'Streams',
  E: 'Signals and the end',
  F: 'Network and names',
  G: 'Requests',
  H: 'Readiness',
  I: 'Isolation and limits',
  J: 'Jobs',
}
const ENGINES = ['runc', 'docker'] as const

const NOTES = `## What else differs

- VOLUMEs of an image are not writable: only \`/tmp\` is. A WORKDIR that is not in the image is an error, not made.
- \`ptrace\` and \`io_uring\` are refused.
- Docker: output goes through the Engine's \`local\` log driver; created instances are containers without a process, so starting one ahead saves
  little. An Engine that is not on this machine publishes port 9000 on 127.0.0.1, gives \`/tmp\` as tmpfs (counted as memory), and its network
  lets out what the machine's firewall lets out; \`slipway doctor\` says so.
- Limits, freezing, killing and counting run for real on cgroup v1 (hybrid) in the tests; cgroup v2 is checked by table on a tree of plain
  files only. The engines' contract suite runs on runc, and on crun where crun can make containers (not under hybrid cgroups); \`slipway doctor\`
  says which was chosen and why.`

type Results = Record<AssertionId, string>

/** The runtime contract with what the last committed run found on each engine (test/e2e/runtime-contract.test.ts holds the two together). */
export function runtimeContractDocument(): string {
  const results = ENGINES.map((engine) => {
    const text = readFileSync(new URL(`runtime-contract/${engine}.json`, import.meta.url), 'utf8')
    return JSON.parse(text) as Results
  })
  const ids = Object.keys(PROMISES) as AssertionId[]
  const sections = Object.entries(GROUPS).flatMap(([letter, title]) => [
    `## ${title}`,
    '',
    `| | promise | ${ENGINES.join(' | ')} |`,
    `|---|---|${ENGINES.map(() => '---').join('|')}|`,
    ...ids.filter((id) => id.startsWith(letter)).map((id) => row(id, results)),
    '',
  ])
  return [
    '# Runtime contract',
    '',
    'Made by `node docs/generate.ts` from a run of `test/e2e/runtime-contract.test.ts`; do not edit.',
    '',
    'What a function’s container may rely on. Each promise is decided by a probe inside a real instance or by a look at it from outside, on every',
    `engine. ${counts(results)}`,
    '',
    ...sections,
    '## Deviations',
    '',
    'Where a promise does not hold as it stands, and what was checked instead.',
    '',
    '| | reason |',
    '|---|---|',
    ...Object.entries(DEVIATIONS).map(([id, reason]) => `| ${id} | ${reason}. |`),
    '',
    NOTES,
    '',
  ].join('\n')
}

function row(id: AssertionId, results: readonly Results[]): string {
  return `| ${id} | ${PROMISES[id]} | ${results.map((each) => each[id]).join(' | ')} |`
}

function counts(results: readonly Results[]): string {
  return ENGINES.map((engine, at) => {
    const words = Object.values(results[at] ?? {})
    const of = (word: string): number => words.filter((each) => each === word).length
    return `On ${engine} ${of('pass')} of ${words.length} hold and ${of('deviation')} deviate.`
  }).join(' ')
}
