import { makeNodeBase } from '../base-images/node/index.ts'
import { createBuilder } from '../builder/index.ts'
import { createLogger, toPlainError } from '../common/index.ts'
import { startTestRegistry } from './helpers/registry.ts'
const registry = await startTestRegistry()
try {
const builder = createBuilder({cacheDirectory:'/tmp/bb/cache', sandboxDirectory: '/tmp/bb/sandboxes', hash:'deadbeef', log: createLogger('build'),
 credentials: {for: async () => ({kind:'anonymous'})}, base: (_r, note, signal) => makeNodeBase({cacheDirectory:'/tmp/bb/cache', progress: note, signal})})
for (const path of process.argv.slice(2)) {
  const r = await builder.build({source:{kind:'directory', path}, target:{registry: registry.address}, onEvent: e => console.log(JSON.stringify(e))}, AbortSignal.timeout(100000))
  console.log(r)
}
} catch (e) { console.log(toPlainError(e), e) } finally { await registry.close() }
