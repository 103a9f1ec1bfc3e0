import { randomBytes } from 'node:crypto'
import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { AppError } from '../common/index.ts'
import { type Digest, digestHex } from '../oci/index.ts'
import type { ContentLayout } from './layout.ts'

const MAX_OWNER_LENGTH = 160

/**
 * Leases are empty files `OWNER,HEX,RANDOM`: who (an instance, a build) needs which image. They outlive the process that took them and name no process, so
 * that whoever adopts the owner also has its leases; those of owners that are gone are ended by `releaseOwner`.
 */
export function writeLease(layout: ContentLayout, digest: Digest, owner: string): string {
  const path = join(layout.leases, `${encodeOwner(owner)},${digestHex(digest)},${randomBytes(6).toString('hex')}`)
  writeFileSync(path, '', { flag: 'wx', mode: 0o600 })
  return path
}

export interface LeaseFile {
  file: string
  owner: string
  digest: Digest
}

export function allLeases(layout: ContentLayout): LeaseFile[] {
  return readdirSync(layout.leases).flatMap((file): LeaseFile[] => {
    const match = /^([^,]+),([0-9a-f]{64}),[0-9a-f]{12}$/.exec(file)
    if (match === null) return []
    const [, owner = '', hex = ''] = match
    return [{ file, owner: decodeURIComponent(owner), digest: `sha256:${hex}` }]
  })
}

export function removeLease(layout: ContentLayout, file: string): void {
  rmSync(join(layout.leases, file), { force: true })
}

function encodeOwner(owner: string): string {
  // encodeURIComponent leaves no slash and no comma; a leading dot cannot name a directory since `,` follows
  const encoded = encodeURIComponent(owner)
  if (owner !== '' && encoded.length <= MAX_OWNER_LENGTH) return encoded
  throw new AppError(`"${owner.slice(0, 50)}" cannot own a lease: 1 to ${MAX_OWNER_LENGTH} characters`, {
    code: 'lease-owner-invalid',
  })
}
