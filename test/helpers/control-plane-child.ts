import { startControlPlane } from './control-plane.ts'

// A control plane in a process of its own, to be killed: `node control-plane-child.ts DIRECTORY` prints its port when it answers.
const [directory] = process.argv.slice(2)
if (directory === undefined) throw new Error('usage: control-plane-child.ts DIRECTORY')
const { port } = await startControlPlane(directory)
process.stdout.write(`${port}\n`)
