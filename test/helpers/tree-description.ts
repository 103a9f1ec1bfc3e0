import { createHash } from 'node:crypto'
import { type BigIntStats, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { getExtendedAttribute, listExtendedAttributes } from '../../common/index.ts'

export interface DescribeOptions {
  /** Device nodes are left out of both sides: slipway does not make them. Default false. */
  skipDevices?: boolean
  /** Whether the time of this path counts. Default: always. */
  compareTime?: (path: string) => boolean
}

/**
 * A line for each entry below `root`: path, type, mode, owner, size, content hash, link target, time in nanoseconds, attributes, and the first
 * name of the file where it has several. Two trees are equal when their lines are.
 */
export function describeTree(root: string, options: DescribeOptions = {}): string[] {
  const names = new Map<string, string[]>()
  const found: { path: string; line: Record<string, string>; inode: string }[] = []
  const visit = (path: string): void => {
    const disk = Buffer.from(root + path, 'latin1')
    const stat = lstatSync(disk, { bigint: true })
    if (options.skipDevices === true && (stat.isCharacterDevice() || stat.isBlockDevice())) return
    const inode = `${stat.dev}:${stat.ino}`
    found.push({ path, line: describe(path, disk, stat, options), inode })
    if (!stat.isDirectory()) {
      names.set(inode, [...(names.get(inode) ?? []), path])
      return
    }
    for (const name of readdirSync(disk, { encoding: 'latin1' }).sort()) visit(`${path}/${name}`)
  }
  visit('')
  return found.map(({ path, line, inode }) => {
    const [first, second] = names.get(inode) ?? []
    return `${path || '/'} ${JSON.stringify(second === undefined ? line : { ...line, sameAs: first })}`
  })
}

export function hashTree(root: string, options: DescribeOptions = {}): string {
  return createHash('sha256').update(describeTree(root, options).join('\n')).digest('hex')
}

function describe(path: string, disk: Buffer, stat: BigIntStats, options: DescribeOptions): Record<string, string> {
  const type = typeOf(stat)
  const facts: Record<string, string> = {
    type,
    mode: (Number(stat.mode) & 0o7777).toString(8),
    owner: `${stat.uid}:${stat.gid}`,
  }
  if (options.compareTime?.(path) !== false) facts['mtime'] = String(stat.mtimeNs)
  if (type === 'file')
    facts['content'] = `${stat.size} ${createHash('sha256').update(readFileSync(disk)).digest('hex')}`
  if (type === 'symlink') facts['target'] = readlinkSync(disk, 'latin1')
  const attributes = listExtendedAttributes(disk).filter((name) => !name.startsWith('user.overlay.'))
  for (const name of attributes.sort()) facts[name] = getExtendedAttribute(disk, name)?.toString('hex') ?? ''
  return facts
}

function typeOf(stat: BigIntStats): string {
  if (stat.isDirectory()) return 'directory'
  if (stat.isFile()) return 'file'
  if (stat.isSymbolicLink()) return 'symlink'
  if (stat.isFIFO()) return 'fifo'
  return stat.isSocket() ? 'socket' : `device ${stat.rdev}`
}
