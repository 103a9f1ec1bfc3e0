import { startTestRegistry } from './helpers/registry.ts'
import { execFileSync } from 'node:child_process'
const registry = await startTestRegistry()
try { for (const d of ['/tmp/bb/evil','/tmp/bb/src']) try { execFileSync('sh',['-c','umask 077; exec "$@"','sh',process.execPath,'test/helpers/build-child.ts','/tmp/bb/coldhome',registry.address,d],{stdio:'inherit',env:{...process.env,TZ:'Pacific/Kiritimati',LC_ALL:'tr_TR.UTF-8'}}) } catch (e) {console.log(String(e))} } finally { await registry.close() }
