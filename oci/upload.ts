import type { Readable } from 'node:stream'
import { AppError } from '../common/index.ts'
import { uploadBody } from './http-body.ts'
import type { Descriptor } from './manifest.ts'
import { headerText, type RegistryResponse, type Transport } from './transport.ts'

/** What is sent: bytes, or a stream of all of them that is made anew for each try. */
export type BlobSource = Uint8Array | (() => Readable)

/**
 * Uploads a blob: POST opens an upload, one PUT sends all bytes and names the digest. A failure starts a new upload from the
 * first byte, at most five: docker-registry 2.8.2 forgets an upload whose last request was cut (measured: 404
 * BLOB_UPLOAD_INVALID on the next, with PATCH as with PUT), so that there is nothing to resume.
 */
export async function uploadBlob(
  transport: Transport,
  repository: string,
  blob: Descriptor,
  source: BlobSource,
): Promise<void> {
  const what = `push of blob ${blob.digest} to ${repository}`
  const scopes = [`repository:${repository}:pull,push`]
  await transport.retried(() => uploadOnce(transport, repository, blob, source, what, scopes))
}

async function uploadOnce(
  transport: Transport,
  repository: string,
  blob: Descriptor,
  source: BlobSource,
  what: string,
  scopes: readonly string[],
): Promise<void> {
  const path = `/v2/${repository}/blobs/uploads/`
  const opened = await transport.open({ method: 'POST', url: path, scopes, what, accept: [202], attempts: 1 })
  await opened.body.dump()
  const url = uploadLocation(transport, opened, path, what)
  url.searchParams.set('digest', blob.digest)
  const sent = await transport.open({
    method: 'PUT',
    url,
    scopes,
    headers: { 'content-type': 'application/octet-stream', 'content-length': String(blob.size) },
    body: typeof source === 'function' ? () => uploadBody(source()) : source,
    what,
    accept: [201],
    attempts: 1,
  })
  await sent.body.dump()
}

/** Opens an upload and cancels it (distribution specification, 14): whether the credential may push is known then, and nothing is left. */
export async function checkPush(transport: Transport, repository: string): Promise<void> {
  const what = `start of an upload to ${repository}`
  const path = `/v2/${repository}/blobs/uploads/`
  const scopes = [`repository:${repository}:pull,push`]
  const opened = await transport.open({ method: 'POST', url: path, scopes, what, accept: [202] })
  await opened.body.dump()
  const url = uploadLocation(transport, opened, path, what)
  // Who may push and not cancel (docker-registry asks for the right to delete) leaves an upload that the registry forgets by itself.
  const cancelled = await transport.open({
    method: 'DELETE',
    url,
    scopes: [`repository:${repository}:delete`],
    what,
    accept: [202, 204, 401, 403, 404, 405],
    attempts: 1,
  })
  await cancelled.body.dump()
}

/** Where the registry wants the bytes; its own query values are kept. */
function uploadLocation(transport: Transport, response: RegistryResponse, path: string, what: string): URL {
  const location = headerText(response.headers['location'])
  if (location !== '') return transport.resolveLocation(location, new URL(path, transport.origin))
  throw new AppError(`${what} failed: ${transport.registry} opened an upload without saying where`, {
    code: 'registry-error',
    fault: 'dependency',
  })
}

/**
 * Makes a blob of another repository of the same registry present in this one without sending it. False when the registry
 * does not know the blob there, may not show it, or does not mount; nothing is left to clean up but an empty upload that the
 * registry forgets by itself.
 */
export async function mountBlob(
  transport: Transport,
  repository: string,
  from: string,
  blob: Descriptor,
): Promise<boolean> {
  const query = new URLSearchParams({ mount: blob.digest, from })
  try {
    const response = await transport.open({
      method: 'POST',
      url: `/v2/${repository}/blobs/uploads/?${query.toString()}`,
      scopes: [`repository:${repository}:pull,push`, `repository:${from}:pull`],
      what: `mount of blob ${blob.digest} from ${from} into ${repository}`,
      // 404: there is no such repository to mount from.
      accept: [201, 202, 404],
    })
    await response.body.dump()
    return response.statusCode === 201
  } catch (thrown) {
    // Which of the two rights is missing cannot be seen; the push that follows says so if it is its own.
    if (thrown instanceof AppError && thrown.code === 'registry-denied') return false
    throw thrown
  }
}
