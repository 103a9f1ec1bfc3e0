import { writeFileSync } from 'node:fs'
import { ERROR_GROUPS, type ErrorEntry, FunctionYaml, NUMBERS } from '../api/index.ts'
import { UP_OPTIONS } from '../cli/commands/up.ts'
import { EXIT_CODES } from '../cli/exit-codes.ts'
import { VARIABLES } from '../cli/variables.ts'
import { runtimeContractDocument } from './runtime-contract.ts'

/**
 * Documents that are made from the code, by file name below docs/. `node docs/generate.ts` writes them; a test fails when one is
 * not what the code says.
 */
export function generatedDocs(): Record<string, string> {
  return {
    'ERRORS.md': errorsDocument(),
    'CONFIG.md': configDocument(),
    'RUNTIME-CONTRACT.md': runtimeContractDocument(),
  }
}

function errorsDocument(): string {
  const groups = Object.entries(ERROR_GROUPS).flatMap(([title, codes]) => [
    `## ${title}`,
    '',
    ...table(['code', 'HTTP', 'exit', 'number', 'title', 'meaning'], Object.entries(codes).map(codeRow)),
    '',
  ])
  const numbers = Object.entries(NUMBERS).map(([number, { name, http, meaning }]) => [
    number,
    name,
    http === null ? 'closed' : String(http),
    meaning,
  ])
  const exits = Object.entries(EXIT_CODES).map(([name, { code, meaning }]) => [String(code), name, meaning])
  return [
    '# Errors',
    '',
    'Made by `node docs/generate.ts` from `api/`; do not edit.',
    '',
    'An error of the API is `application/problem+json` with `code`, `title`, `detail`, `hint` and `requestId`. The command line prints',
    'the same and ends with the exit code of the kind. A call of a function ends with a documented number, in the result as',
    '`statusCode` and on the answer as `X-Slipway-Status`; the column "number" tells which one a code becomes.',
    '',
    '## Numbers of calls',
    '',
    ...table(['number', 'name', 'HTTP', 'meaning'], numbers),
    '',
    '## Exit codes of `slipway`',
    '',
    ...table(['exit', 'kind', 'meaning'], exits),
    '',
    ...groups,
  ]
    .join('\n')
    .trimEnd()
    .concat('\n')
}

function configDocument(): string {
  const options = Object.entries(UP_OPTIONS).map(([name, option]) => [
    `\`--${name} ${option.placeholder}\``,
    option.description,
  ])
  const variables = VARIABLES.map(({ name, default: otherwise, meaning }) => [`\`${name}\``, otherwise, meaning])
  const keys = Object.entries(FunctionYaml.properties).map(([name, schema]) => yamlRow(name, schema as KeySchema))
  return [
    '# Configuration',
    '',
    'Made by `node docs/generate.ts` from the code; do not edit. Nothing has to be set.',
    '',
    '## Environment',
    '',
    ...table(['variable', 'default', 'meaning'], variables),
    '',
    '## `slipway up` and `npm start --`',
    '',
    ...table(['option', 'meaning'], options),
    '',
    '## `function.yaml`',
    '',
    'Every key is optional; options of the command line win over it.',
    '',
    ...table(['key', 'takes', 'default', 'meaning'], keys),
    '',
  ].join('\n')
}

interface KeySchema {
  type?: string
  anyOf?: { const?: string; type?: string }[]
  minimum?: number
  maximum?: number
  default?: unknown
  description?: string
}

function yamlRow(name: string, schema: KeySchema): string[] {
  const range = schema.minimum === undefined ? '' : ` ${schema.minimum} to ${schema.maximum ?? '…'}`
  const choices = schema.anyOf?.map((one) => (one.const === undefined ? (one.type ?? '') : one.const)).join(', ')
  const otherwise = schema.default === undefined ? '' : `\`${JSON.stringify(schema.default)}\``
  return [`\`${name}\``, `${choices ?? schema.type ?? ''}${range}`, otherwise, schema.description ?? '']
}

function codeRow([code, { status, exit, number, title, meaning }]: [string, ErrorEntry]): string[] {
  return [`\`${code}\``, String(status), exit, number === undefined ? '' : String(number), title, meaning]
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [line(header), line(header.map(() => '---')), ...rows.map(line)]
}

if (import.meta.main) {
  for (const [name, text] of Object.entries(generatedDocs())) writeFileSync(new URL(name, import.meta.url), text)
}
