import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { arch, cpus, release } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { installPackages, missingPackages } from '../cli/setup/index.ts'

// `npm run bench`: every scenario in this folder, one after another; each prints rows as JSON lines. Figures are ratios against a
// baseline of the same run, since machines are shared; budgets.json holds what is promised. `--write` keeps the table in docs/BENCH.md.

interface Row {
  name: string
  /** What is promised of `value`: at most, or at least. */
  value: number
  detail: string
}
interface Budget {
  what: string
  atMost?: number
  atLeast?: number
}

const here = import.meta.dirname
const budgets = JSON.parse(readFileSync(join(here, 'budgets.json'), 'utf8')) as Record<string, Budget>
const chosen = process.argv.slice(2).filter((arg) => !arg.startsWith('--'))

async function scenario(file: string): Promise<Row[]> {
  console.error(`── ${file}`)
  const { stdout, exitCode } = await execa(process.execPath, [join(here, file)], {
    reject: false,
    stderr: 'inherit',
    timeout: 20 * 60_000,
  })
  if (exitCode !== 0) console.error(`${file} ended with ${exitCode}`)
  return stdout
    .split('\n')
    .filter((line) => line.startsWith('{"name"'))
    .map((line) => JSON.parse(line) as Row)
}

function verdict(row: Row): string {
  const budget = budgets[row.name]
  if (budget === undefined) return 'no budget'
  const low = budget.atLeast !== undefined && row.value < budget.atLeast
  const high = budget.atMost !== undefined && row.value > budget.atMost
  return low || high ? 'MISSED' : 'kept'
}

function promise({ atMost, atLeast }: Budget): string {
  return atMost === undefined ? `≥ ${atLeast}` : `≤ ${atMost}`
}

function table(rows: Row[]): string {
  const lines = rows.map((row) => {
    const budget = budgets[row.name]
    return `| ${budget?.what ?? row.name} | ${row.value.toFixed(2)} | ${budget === undefined ? '' : promise(budget)} | ${verdict(row)} | ${row.detail} |`
  })
  return ['| what | measured | promised | | how it came about |', '|---|---|---|---|---|', ...lines].join('\n')
}

const missing = missingPackages(['run', 'test', 'bench'])
if (missing.length > 0) await installPackages(missing, (line) => console.error(line))
const files = readdirSync(here)
  .filter((name) => name.endsWith('.bench.ts'))
  .filter((name) => chosen.length === 0 || chosen.some((part) => name.startsWith(part)))
const rows: Row[] = []
for (const file of files) rows.push(...(await scenario(file)))
const text = table(rows)
console.log(text)
if (process.argv.includes('--write')) {
  const machine = `${cpus().length} × ${cpus()[0]?.model.trim()}, Linux ${release()}, ${arch()}, Node ${process.version}`
  writeFileSync(
    join(here, '../docs/BENCH.md'),
    `# Figures\n\nFrom one run of \`npm run bench -- --write\` on ${machine}. Ratios compare with a baseline of the same run.\n\n${text}\n`,
  )
}
process.exit(rows.every((row) => verdict(row) === 'kept') ? 0 : 1)
