import { expect, it } from 'vitest'
import { readHoldings } from '../../../../control-plane/registry/holdings.ts'

const HEX = 'a'.repeat(64)
const ROOT = 'docker/registry/v2'

async function* lines(...texts: string[]): AsyncGenerator<string> {
  yield* texts
}

it('the files of the registry tell its manifests, tags, layers and blobs; other lines tell nothing', async () => {
  const holdings = await readHoldings(
    lines(
      `${ROOT}/repositories/a/b/_manifests/revisions/sha256/${HEX}/link 71 1700000000.1234567890`,
      `${ROOT}/repositories/a/b/_manifests/tags/v1.0/current/link 71 1700000000`,
      `${ROOT}/repositories/a/_layers/sha256/${HEX}/link 71 1700000001.5`,
      `${ROOT}/blobs/sha256/aa/${HEX}/data 1000 1700000000.0`,
      `${ROOT}/blobs/sha256/bb/${HEX}/data 234 1700000000.0`,
      `${ROOT}/repositories/a/_manifests/revisions/sha256/${HEX.toUpperCase()}/link 71 1700000000`,
      `${ROOT}/repositories/a/_manifests/tags/v1 x/current/link 71 1700000000`,
      `${ROOT}/repositories/a/b/_manifests/revisions/sha256/${HEX}/link`,
      `elsewhere/blobs/sha256/aa/${HEX}/data 1000 1700000000`,
      '',
    ),
  )
  expect(holdings).toEqual({
    manifests: [{ repository: 'a/b', digest: `sha256:${HEX}`, pushedAtMs: 1_700_000_000_000 }],
    tags: [{ repository: 'a/b', tag: 'v1.0' }],
    layers: [{ repository: 'a', digest: `sha256:${HEX}`, takenAtMs: 1_700_000_001_000 }],
    blobs: 2,
    blobBytes: 1_234,
  })
})
