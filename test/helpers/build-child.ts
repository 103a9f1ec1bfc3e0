// One build in a process of its own: build-child.ts HOME REGISTRY SOURCE. Prints each event, then {digest}, one JSON object a line.
import { testBuilder } from './builds.ts'

const [home = '', registry = '', path = ''] = process.argv.slice(2)
const print = (value: unknown): boolean => process.stdout.write(`${JSON.stringify(value)}\n`)
const builder = testBuilder(home)
const { digest } = await builder.build(
  { source: { kind: 'directory', path }, target: { registry }, settings: { name: 'child' }, onEvent: print },
  AbortSignal.timeout(100_000),
)
print({ digest })
