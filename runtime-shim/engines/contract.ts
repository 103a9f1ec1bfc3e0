import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { connectionContract, outputContract } from './contract-connections.ts'
import { insideContract } from './contract-inside.ts'
import { type Access, ContractKit, type EngineHarness } from './contract-kit.ts'
import { endContract, resourceContract, survivalContract } from './contract-life.ts'

export type { EngineHarness } from './contract-kit.ts'

const PARTS = {
  images: imageContract,
  connections: connectionContract,
  output: outputContract,
  end: endContract,
  resources: resourceContract,
  survival: survivalContract,
  inside: insideContract,
}

/** The suite that every engine passes: `engineContract('runc', () => makeHarness())` inside a test file. `parts` default: all. */
export function engineContract(
  name: string,
  makeHarness: () => Promise<EngineHarness>,
  parts = Object.keys(PARTS) as (keyof typeof PARTS)[],
): void {
  describe(`the ${name} engine`, () => {
    let harness: EngineHarness
    let kit: ContractKit
    const access = { harness: () => harness, kit: () => kit }
    beforeAll(async () => {
      harness = await makeHarness()
      kit = new ContractKit(harness)
      await harness.engine.prepare({
        ...harness.image,
        credential: harness.credential,
        deadlineMs: Date.now() + 60_000,
      })
    })
    afterEach(() => kit.cleanUp())
    afterAll(() => harness?.close())
    for (const part of parts) PARTS[part](access)
  })
}

function imageContract({ harness, kit }: Access): void {
  describe('images', () => {
    it('are pulled once: a second prepare asks the registry for nothing', async () => {
      const { engine, image, credential } = harness()
      const prepared = await engine.prepare({ ...image, credential, deadlineMs: Date.now() + 60_000 })
      expect(prepared).toMatchObject({ digest: image.digest, pulled: false })
      expect(prepared.config.config?.Entrypoint).toEqual(['/usr/bin/node', '/probe/server.mjs'])
    })

    it('that cannot start because the command is missing say so in the words of the runtime', async () => {
      await expect(kit().start({ command: ['/nope'] })).rejects.toMatchObject({
        code: expect.stringMatching(/^instance-(create|start)-failed$/),
        message: expect.stringMatching(/\/nope\b.*no such file or directory/i),
      })
    })

    it('that name a user who is not in their passwd file cannot start, and the error names the user', async () => {
      const { image } = harness()
      const config = { ...image.config, config: { ...image.config.config, User: 'nosuchuser' } }
      await expect(kit().start({ image: { ...image, config } })).rejects.toMatchObject({
        code: expect.stringMatching(/^instance-(create|start)-failed$/),
        message: expect.stringMatching(/nosuchuser.*passwd/s),
      })
    })

    it('that failed to start leave nothing once swept', async () => {
      const spec = kit().spec({ command: ['/nope'] })
      const started = harness()
        .engine.create(spec)
        .then((instance) => instance.start())
      await expect(started).rejects.toThrow()
      await harness().engine.sweep(spec.id, spec.directory)
      expect(await harness().traces(spec.id)).toEqual([])
    })
  })
}
