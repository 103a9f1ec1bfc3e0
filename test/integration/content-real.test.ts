import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mountOverlay, run, unmount } from '../../common/index.ts'
import { ContentHarness } from '../helpers/content-harness.ts'
import { requireProgram } from '../helpers/programs.ts'
import { debian, type LayerRecipe, packed, realImage, umociDescription } from '../helpers/real-images.ts'
import { startTestRegistry, type TestRegistry } from '../helpers/registry.ts'
import { describeTree } from '../helpers/tree-description.ts'

const canRun = requireProgram('mmdebstrap', 'umoci', 'skopeo', 'docker-registry', 'setpriv')
const nodeDirectory = join(process.execPath, '..')

const IMAGES: [name: string, recipes: LayerRecipe[]][] = [
  ['minbase', [debian('minbase')]],
  [
    'node',
    [
      debian('extract', ['libatomic1', 'libstdc++6', 'ca-certificates', 'tzdata', 'base-files']),
      packed(nodeDirectory, 'node'),
    ],
  ],
  ['python', [debian('extract', ['python3-minimal', 'libpython3-stdlib', 'ca-certificates'])]],
  ['ffmpeg', [debian('extract', ['ffmpeg', 'ca-certificates'])]],
]

/** 1.5 GB of wheels: half a minute to fetch, a minute to compress. */
if (process.env['SLIPWAY_TEST_HEAVY'] === '1') {
  IMAGES.push([
    'tensorflow',
    [
      debian('extract', ['python3-minimal', 'libpython3-stdlib', 'libstdc++6', 'ca-certificates']),
      async (target) => {
        const directory = `${target}.packages`
        const options = ['install', '--quiet', '--no-compile', '--root-user-action=ignore', '--target', directory]
        await run('pip', [...options, 'tensorflow-cpu'], { timeoutMs: 600_000, env: pipEnvironment() })
        await packed(directory, '.')(target)
        await run('rm', ['-r', directory])
      },
    ],
  ])
}

function pipEnvironment(): Record<string, string> {
  const names = [
    'HOME',
    'PIP_CERT',
    'PIP_CONFIG_FILE',
    'PIP_INDEX_URL',
    'PIP_FIND_LINKS',
    'https_proxy',
    'http_proxy',
    'no_proxy',
    'HTTPS_PROXY',
    'HTTP_PROXY',
    'NO_PROXY',
  ]
  return Object.fromEntries(
    names.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name] ?? '']])),
  )
}

describe.skipIf(!canRun)('real images, pulled from a real registry, equal what umoci unpacks', () => {
  const harness = new ContentHarness()
  let registry: TestRegistry

  beforeAll(async () => {
    registry = await startTestRegistry()
  })
  afterAll(async () => {
    await registry.close()
    await harness.close()
  })

  test.each(IMAGES)('%s', { timeout: 900_000 }, async (name, recipes) => {
    const image = await realImage(name, recipes)
    const expected = await umociDescription(image)
    await run(
      'skopeo',
      [
        'copy',
        '--quiet',
        '--dest-tls-verify=false',
        `oci:${image.layout}:made`,
        `docker://${registry.address}/real/${name}:made`,
      ],
      { timeoutMs: 120_000 },
    )
    const store = await harness.open()
    const result = await store.pull({
      registry: registry.address,
      repository: `real/${name}`,
      digest: image.digest,
      credential: { kind: 'anonymous' },
      deadlineMs: Date.now() + 300_000,
    })
    console.log(`${name}: ${image.tarBytes} bytes in ${Math.round(result.pullMs)} ms`)
    const merged = join(harness.scratch, name)
    mkdirSync(merged)
    mountOverlay(result.image.layerDirectories, merged)
    try {
      expect(describeTree(merged)).toEqual(expected)
    } finally {
      unmount(merged)
      await store.close()
    }
  })
})
