import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { ApiClient } from '../../cli/api-client.ts'
import { pushAccess } from '../../cli/local-builder.ts'
import {
  type ContainerConfig,
  type Descriptor,
  digestOf,
  loadImage,
  MEDIA,
  machinePlatform,
  RegistryClient,
} from '../../oci/index.ts'
import { buildInProcess } from '../helpers/builds.ts'
import { type Platform, PROJECT } from '../helpers/platform.ts'
import { directory, file, hardLink, type MadeEntry, makeTar, symlink } from '../helpers/tar-maker.ts'

const REPOSITORY = 'default/contract'
const LIBRARIES = ['koffi', '@koromix']

const SERVER = ['node', '/probe/server.mjs']
const ENVIRONMENT = [
  'PATH=/usr/local/bin:/usr/bin:/bin',
  'IMAGE_VARIABLE=from image',
  'OVERLAID=from image',
  'PORT=1234',
]

/** One content, and a configuration for each thing that an image may say of how it is run. */
const CONFIGURATIONS = {
  plain: { Entrypoint: SERVER, Env: ENVIRONMENT, WorkingDir: '/probe' },
  words: { Entrypoint: [...SERVER, 'E'], Cmd: ['C'], Env: ENVIRONMENT },
  /** Says nothing but what to run. */
  bare: { Entrypoint: SERVER },
  named: { Entrypoint: SERVER, Env: ENVIRONMENT, User: 'probe' },
  numbered: { Entrypoint: SERVER, Env: ENVIRONMENT, User: '1234:1003' },
  stranger: { Entrypoint: SERVER, Env: ENVIRONMENT, User: 'stranger' },
  root: { Entrypoint: SERVER, Env: ENVIRONMENT, User: '0:0' },
  quits: { Entrypoint: SERVER, Env: ENVIRONMENT, StopSignal: 'SIGQUIT' },
  forged: { Entrypoint: SERVER, Env: [...ENVIRONMENT, 'SCF_FUNCTIONNAME=forged'] },
} satisfies Record<string, ContainerConfig>

export type ProbeImage = keyof typeof CONFIGURATIONS

/** Where a deploy finds it. */
export function imageReference(image: ProbeImage): string {
  return `${REPOSITORY}:${image}`
}

/** Pushes the probe image to a platform's registry: the base of Node functions, and two layers of its own above it. */
export async function pushProbeImages(platform: Platform): Promise<void> {
  await buildInProcess(platform, join(PROJECT, 'test/fixtures/contract'), 'contract')
  const api = new ApiClient({ url: platform.url, token: platform.token }, AbortSignal.timeout(60_000))
  const { registry, credentials } = await pushAccess(api, 'default')
  const credential = await credentials.for(registry, REPOSITORY, 'push', AbortSignal.timeout(60_000))
  const client = new RegistryClient({ registry, credential })
  try {
    const built = await client.resolve({ repository: REPOSITORY, tag: 'latest' })
    const { manifest, config } = await loadImage(client, REPOSITORY, built.descriptor.digest, machinePlatform())
    const put = async (bytes: Buffer, mediaType: string): Promise<Descriptor> => {
      const blob = { mediaType, digest: digestOf(bytes), size: bytes.length }
      if (!(await client.hasBlob(REPOSITORY, blob))) await client.uploadBlob(REPOSITORY, blob, bytes)
      return blob
    }
    const tars = [makeTar([...program(), ...identity(), ...lowerTree()]), makeTar(upperTree())]
    const layers: Descriptor[] = []
    for (const tar of tars) layers.push(await put(gzipSync(tar, { level: 1 }), MEDIA.ociLayerGzip))
    const rootfs = {
      type: 'layers' as const,
      diff_ids: [...config.rootfs.diff_ids, ...tars.map((tar) => digestOf(tar))],
    }
    for (const [tag, container] of Object.entries(CONFIGURATIONS)) {
      const { os, architecture } = config
      const described = await put(
        Buffer.from(JSON.stringify({ os, architecture, config: container, rootfs })),
        MEDIA.ociConfig,
      )
      const all = {
        schemaVersion: 2,
        mediaType: MEDIA.ociManifest,
        config: described,
        layers: [...manifest.layers, ...layers],
      }
      await client.putManifest(REPOSITORY, tag, MEDIA.ociManifest, Buffer.from(JSON.stringify(all)))
    }
  } finally {
    await client.close()
  }
}

/** The servers of all fixtures, and what makes system calls. */
function program(): MadeEntry[] {
  const fixtures = ['web', 'calls'].flatMap((name) => tree(join(PROJECT, 'test/fixtures', name), `probe/${name}`))
  const libraries = LIBRARIES.flatMap((name) => tree(join(PROJECT, 'node_modules', name), `probe/node_modules/${name}`))
  return [
    directory('probe'),
    file('probe/server.mjs', readFileSync(join(PROJECT, 'test/fixtures/contract/server.mjs'))),
    ...fixtures,
    directory('probe/node_modules'),
    ...libraries,
  ]
}

function tree(from: string, to: string): MadeEntry[] {
  const below = readdirSync(from, { withFileTypes: true }).flatMap((entry) => {
    const [source, target] = [join(from, entry.name), `${to}/${entry.name}`]
    if (entry.isDirectory()) return entry.name === 'doc' || entry.name === 'vendor' ? [] : tree(source, target)
    return [file(target, readFileSync(source))]
  })
  return [directory(to), ...below]
}

function identity(): MadeEntry[] {
  return [
    directory('etc'),
    file('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\nprobe:x:1001:1002:probe:/home/probe:/bin/sh\n'),
    file('etc/group', 'root:x:0:\nprobe:x:1002:\nextra:x:1003:probe\n'),
    // The image has none of its own.
    ...['hosts', 'resolv.conf', 'hostname'].map((name) => file(`etc/.wh.${name}`)),
  ]
}

/** `cap_net_bind_service=ep` as capabilities(7) keeps it: revision 2, effective. */
export const FILE_CAPABILITY = Buffer.from('0100000200040000000000000000000000000000', 'hex')
export const OWNED = { uid: 12_345, gid: 54_321, mtime: 1_500_000_000 }
/** 1 MiB of hole, then four bytes. */
const SPARSE_BYTES = 1024 * 1024 + 4

function lowerTree(): MadeEntry[] {
  const map = Buffer.alloc(512)
  map.write(`1\n${SPARSE_BYTES - 4}\n4\n`)
  const sparse = {
    'GNU.sparse.major': '1',
    'GNU.sparse.minor': '0',
    'GNU.sparse.name': 'tree/sparse',
    'GNU.sparse.realsize': String(SPARSE_BYTES),
  }
  return [
    directory('tree'),
    file('tree/owned', 'content', OWNED),
    symlink('tree/symbolic', 'owned'),
    hardLink('tree/hard', 'tree/owned', OWNED),
    file('tree/setuid-cat', readFileSync('/bin/cat'), { mode: 0o4755 }),
    file('tree/capable', 'x', { pax: { 'SCHILY.xattr.security.capability': FILE_CAPABILITY } }),
    file('tree/GNUSparseFile.0/sparse', Buffer.concat([map, Buffer.from('tail')]), { pax: sparse }),
    file('tree/removed'),
    directory('tree/emptied'),
    file('tree/emptied/old'),
    directory('tree/replaced'),
    file('tree/replaced/old'),
  ]
}

function upperTree(): MadeEntry[] {
  return [
    directory('tree'),
    file('tree/.wh.removed'),
    directory('tree/emptied'),
    file('tree/emptied/.wh..wh..opq'),
    file('tree/emptied/new'),
    file('tree/replaced', 'now a file'),
  ]
}
