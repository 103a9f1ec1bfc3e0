import { createLogger } from '../../common/index.ts'
import { openContentStore } from '../../content/index.ts'
import { parseDigest } from '../../oci/index.ts'

/** A process with a content store of its own on a shared directory: pulls one image, prints what came of it and ends. */
const [directory = '', registry = '', digest = ''] = process.argv.slice(2)
const store = await openContentStore(directory, { logger: createLogger('child') })
const result = await store.pull({
  registry,
  repository: 'made/image',
  digest: parseDigest(digest),
  credential: { kind: 'anonymous' },
  deadlineMs: Date.now() + 60_000,
})
console.log(JSON.stringify(result))
await store.close()
