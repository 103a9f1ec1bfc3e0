import { makeDockerHarness } from '/work/main/test/helpers/docker-harness.ts'
import { startTestDockerd } from '/work/main/test/helpers/dockerd.ts'
import { ContractKit, listening } from '/work/main/runtime-shim/engines/contract-kit.ts'
const d = await startTestDockerd()
for (const local of [true, false]) {
const h = await makeDockerHarness(d, { local })
await h.engine.prepare({ ...h.image, credential: h.credential, deadlineMs: Date.now() + 60000 })
const kit = new ContractKit(h)
const series = {}
const add = async (name, work) => { const t = performance.now(); const r = await work(); (series[name] ??= []).push(performance.now() - t); return r }
for (let i = 0; i < 12; i++) {
  const spec = kit.spec()
  const t = performance.now()
  const instance = await add('create', () => h.engine.create(spec))
  await add('start', () => instance.start())
  await add('listen', () => listening(instance)); (series.total ??= []).push(performance.now() - t)
  await add('cpu', () => instance.applyCpuLimit()); 
  await add('freeze', () => instance.freeze()); await add('thaw', () => instance.thaw())
  await add('stats', () => instance.stats()); await add('dial', async () => { for (let n = 0; n < 50; n++) { const o = await instance.dial(9000); if (o.kind === 'connected') (await import('node:fs')).closeSync(o.fd) } })
  await add('stop', () => instance.stop(5000)); await add('remove', () => instance.remove())
}
console.log(local ? 'local' : 'published', Object.fromEntries(Object.entries(series).map(([k, v]) => { v.sort((a, b) => a - b); return [k, `${v[6].toFixed(1)} (p90 ${v[10].toFixed(1)})`] })))
await kit.cleanUp(); await h.close()
}
await d.close()
