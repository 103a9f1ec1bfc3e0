import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { installPackages, missingPackages } from '../cli/setup/index.ts'
import { messageOf } from '../common/index.ts'

// `npm test`: everything that must hold, in the order of how quickly it fails; ends with "N passed, N failed".
// `npm run check` (--check) leaves out what needs an engine. Names of suites as arguments choose among them.

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const bin = (name: string): string => join(root, 'node_modules', '.bin', name)

interface Tally {
  passed: number
  failed: number
}

interface Step {
  name: string
  run: () => Promise<Tally>
}

const tool = (name: string, file: string, args: string[]): Step => ({
  name,
  run: async () => {
    const { exitCode } = await execa(file, args, { cwd: root, stdio: 'inherit', reject: false })
    return exitCode === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 }
  },
})

/** A vitest project; its own report is shown as it runs, the numbers come from its JSON report. */
const suite = (project: string): Step => ({
  name: project,
  run: async () => {
    const directory = mkdtempSync(join(tmpdir(), 'slipway-report-'))
    const report = join(directory, 'report.json')
    try {
      const args = ['run', '--project', project, '--reporter=default', '--reporter=json', `--outputFile=${report}`]
      const { exitCode } = await execa(bin('vitest'), args, { cwd: root, stdio: 'inherit', reject: false })
      return readReport(report, exitCode)
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  },
})

function readReport(report: string, exitCode: number | undefined): Tally {
  try {
    const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(report, 'utf8')) as Record<string, number>
    const failed = numFailedTests ?? 0
    // A suite that cannot be loaded or leaves an error behind fails the run without failing a test.
    return { passed: numPassedTests ?? 0, failed: exitCode === 0 ? failed : Math.max(1, failed) }
  } catch {
    return { passed: 0, failed: 1 }
  }
}

const STATIC: Step[] = [
  tool('types', bin('tsc'), ['-p', root]),
  tool('lint', bin('oxlint'), ['--type-aware', '--deny-warnings']),
  tool('format', bin('biome'), ['check', '--error-on-warnings', '.']),
  tool('dead code', bin('knip'), []),
]
const FAST = [...STATIC, suite('unit')]
const ALL = [...FAST, suite('integration'), suite('e2e')]

async function setUp(): Promise<void> {
  const missing = missingPackages(['run', 'test'])
  if (missing.length === 0) return
  if (process.getuid?.() === 0) await installPackages(missing, (line) => console.error(line))
  else console.error(`not root: tests that need ${missing.map(({ name }) => name).join(', ')} are left out`)
}

async function main(): Promise<number> {
  const args = process.argv.slice(2)
  const chosen = args.filter((arg) => !arg.startsWith('--'))
  const steps = args.includes('--check') ? FAST : ALL.filter(({ name }) => chosen.length === 0 || chosen.includes(name))
  const total: Tally = { passed: 0, failed: 0 }
  if (!args.includes('--check')) {
    try {
      await setUp()
    } catch (thrown) {
      console.error(messageOf(thrown))
      total.failed += 1
    }
  }
  for (const { name, run } of steps) {
    const began = Date.now()
    console.error(`── ${name}`)
    const { passed, failed } = await run()
    total.passed += passed
    total.failed += failed
    console.error(
      `── ${name}: ${failed === 0 ? 'ok' : `${failed} failed`} (${((Date.now() - began) / 1_000).toFixed(1)} s)`,
    )
  }
  console.log(`${total.passed} passed, ${total.failed} failed`)
  return total.failed === 0 ? 0 : 1
}

process.exit(await main())
