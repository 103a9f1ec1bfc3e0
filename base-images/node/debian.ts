import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { AppError, messageOf, removeStale, run } from '../../common/index.ts'
import { type LayerEntry, treeEntries } from '../../oci/index.ts'
import { type AptSetup, formatDeb822 } from './apt-sources.ts'

/** What the base has besides Node, each with its reason. */
export const PACKAGES = [
  'base-files', // /etc/os-release and the directories that everything expects
  'bash', // #!/bin/bash of scf_bootstrap
  'ca-certificates',
  'coreutils', // what start scripts call, and /usr/bin/env of every node_modules/.bin script
  'dash', // /bin/sh
  'libatomic1', // Node
  'libstdc++6', // Node
  'tzdata', // the TZ setting
]

/** What no function needs at run time: the package manager and its kin, documentation, translations, what each start makes anew. */
const LEFT_OUT = [
  /^(boot|dev|etc\/apt|etc\/cron\.daily|etc\/dpkg|etc\/logrotate\.d|media|mnt|opt|srv)\//,
  /^etc\/(fstab|hostname|hosts|resolv\.conf|debconf\.conf|group|passwd)$/,
  /^(usr\/)?s?bin\/(dpkg|debconf|update-|openssl|c_rehash|run-parts|tempfile|savelog|installkernel|which\.)/,
  /^usr\/share\/(man|info|locale|lintian|perl5|bug|debconf|polkit-1|pixmaps|menu)(\/|$)/,
  /^usr\/share\/doc\/[^/]+\/(?!copyright$)/,
  /^var\/(cache|lib\/(apt|dpkg|pam)|log|backups)\//,
]

export interface DebianTree {
  entries: LayerEntry[]
  /** `NAME VERSION`, sorted. */
  packages: string[]
  /** Removes the unpacked files: only when the layer has been written. */
  close(): void
}

/**
 * Unpacks the packages and what they depend on, from the machine's own archive, into a directory below `scratch`.
 * No maintainer script runs; what they would have made and a function needs is made here. Needs root. Throws `base-image-failed`.
 */
export async function unpackDebian(apt: AptSetup, scratch: string, signal?: AbortSignal): Promise<DebianTree> {
  removeStale(scratch, /^debian-/)
  const work = mkdtempSync(join(scratch, 'debian-'))
  const close = (): void => rmSync(work, { recursive: true, force: true })
  try {
    const root = join(work, 'root')
    await mmdebstrap(apt, work, root, signal)
    const packages = readdirSync(join(root, 'var/cache/apt/archives')).flatMap(packageOfFile).sort()
    const kept = treeEntries(root, { owners: 'exact', keep: (path) => !LEFT_OUT.some((rule) => rule.test(path)) })
    return { entries: [...kept, ...completion(root, packages)], packages, close }
  } catch (thrown) {
    close()
    throw thrown
  }
}

async function mmdebstrap(apt: AptSetup, work: string, root: string, signal?: AbortSignal): Promise<void> {
  const sources = join(work, 'base.sources')
  const configuration = join(work, 'apt.conf')
  writeFileSync(sources, formatDeb822(apt.sources))
  writeFileSync(configuration, apt.configuration, { mode: 0o600 })
  const kept = ['http_proxy', 'https_proxy', 'no_proxy'].flatMap((name): [string, string][] => {
    const value = process.env[name]
    return value === undefined ? [] : [[name, value]]
  })
  const options = [
    '--variant=extract',
    '--mode=root',
    '--format=directory',
    '--skip=cleanup/apt/cache', // the names of the downloaded files are the list of versions
    `--aptopt=${configuration}`,
    `--include=${PACKAGES.join(',')}`,
  ]
  await run('mmdebstrap', [...options, apt.codename, root, sources], {
    env: { ...Object.fromEntries(kept), TMPDIR: work, LC_ALL: 'C', SOURCE_DATE_EPOCH: '0' },
    timeoutMs: 600_000,
    ...(signal === undefined ? {} : { signal }),
  }).catch((cause: unknown) => {
    signal?.throwIfAborted()
    throw new AppError(`unpacking the packages of the base image failed: ${messageOf(cause)}`, {
      code: 'base-image-failed',
      fault: 'dependency',
      retryable: true,
      hint: 'check that "apt-get update" works on this machine and that mmdebstrap is installed',
      cause,
    })
  })
}

/** `libattr1_1%3a2.5.1-4_amd64.deb` -> `libattr1 1:2.5.1-4` */
function packageOfFile(file: string): string[] {
  const match = /^([^_]+)_([^_]+)_[^_]+\.deb$/.exec(file)
  return match === null ? [] : [`${match[1]} ${decodeURIComponent(match[2] ?? '')}`]
}

/** What maintainer scripts and an installer would have made. */
function completion(root: string, packages: readonly string[]): LayerEntry[] {
  const text = (path: string, content: string): LayerEntry => ({ kind: 'file', path, content: Buffer.from(content) })
  const missing = ['dev', 'home', 'proc', 'run', 'sys', 'tmp'].filter((name) => !existsSync(join(root, name)))
  return [
    ...missing.map((path): LayerEntry => ({ kind: 'directory', path, mode: path === 'tmp' ? 0o1777 : 0o755 })),
    text('etc/passwd', 'root:x:0:0:root:/root:/bin/bash\nqcloud:x:1000:1000:function:/home/qcloud:/bin/bash\n'),
    text('etc/group', 'root:x:0:\nqcloud:x:1000:\n'),
    // Without it, the first date that Node prints makes it compare every file of zoneinfo with what is not there: 25 ms of each cold start.
    { kind: 'symlink', path: 'etc/localtime', target: '/usr/share/zoneinfo/Etc/UTC' },
    text('etc/nsswitch.conf', 'passwd: files\ngroup: files\nhosts: files dns\n'),
    text('etc/ssl/certs/ca-certificates.crt', certificates(join(root, 'usr/share/ca-certificates/mozilla'))),
    { kind: 'directory', path: 'home/qcloud', uid: 1000, gid: 1000 },
    { kind: 'directory', path: 'usr/share/slipway' },
    text('usr/share/slipway/packages', `${packages.join('\n')}\n`),
  ]
}

function certificates(directory: string): string {
  const names = readdirSync(directory)
    .filter((name) => name.endsWith('.crt'))
    .sort()
  return names
    .map((name) => readFileSync(join(directory, name), 'utf8').trimEnd())
    .join('\n')
    .concat('\n')
}
