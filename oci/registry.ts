import type { Readable } from 'node:stream'
import { AppError } from '../common/index.ts'
import { type Digest, digestOf, isDigest } from './digest.ts'
import { blobStream, checkDigest, readVerifiedBlob } from './download.ts'
import type { Descriptor } from './manifest.ts'
import { MANIFEST_ACCEPT, MAX_MANIFEST_BYTES, type ManifestDocument, parseManifest } from './parse.ts'
import type { Reference } from './reference.ts'
import { listTags } from './tags.ts'
import { headerText, Transport, type TransportOptions } from './transport.ts'
import { type BlobSource, checkPush, mountBlob, uploadBlob } from './upload.ts'

export type RegistryClientOptions = TransportOptions

/** A manifest or index as a registry holds it: the raw bytes that the digest is of, and what they say. */
export interface FetchedManifest {
  descriptor: Descriptor
  bytes: Buffer
  document: ManifestDocument
}

/**
 * A client of one registry (distribution specification 1.1) with one credential: made for one pull, push or look, ended by
 * `signal` or `close()`. The credential is sent to this registry and to the token server that it names, nowhere else.
 *
 * Every method fails with `registry-unauthorized`, `registry-denied`, `image-not-found`, `registry-unreachable`,
 * `registry-address-refused` or `registry-error`; those that read also with `digest-mismatch`, `image-invalid` or
 * `image-unsupported`. What may pass (429, 5xx, connections that fail) has then been tried five times.
 */
export class RegistryClient {
  readonly registry: string
  readonly #transport: Transport

  constructor(options: RegistryClientOptions) {
    this.registry = options.registry
    this.#transport = new Transport(options)
  }

  /** Asks what a reference points to now. With a digest in the reference the tag is not looked at; without either, `latest` is. */
  async resolve(reference: Pick<Reference, 'repository' | 'tag' | 'digest'>): Promise<FetchedManifest> {
    const { repository, tag = 'latest', digest } = reference
    return this.#fetchManifest(repository, digest ?? tag)
  }

  /** A manifest or index by digest; size and digest are checked. A descriptor's size is checked where one is given. */
  async getManifest(repository: string, wanted: Digest | Descriptor): Promise<FetchedManifest> {
    if (typeof wanted === 'string') return this.#fetchManifest(repository, wanted)
    const fetched = await this.#fetchManifest(repository, wanted.digest)
    if (fetched.descriptor.size === wanted.size) return fetched
    throw new AppError(
      `pull of manifest ${wanted.digest} from ${repository} failed: it has ${fetched.descriptor.size} bytes, the index says ${wanted.size}`,
      { code: 'digest-mismatch', fault: 'dependency', hint: 'build and push the image again' },
    )
  }

  /**
   * The bytes of a blob from `fromOffset` (default 0), resumed by itself after a cut. Ends after exactly `descriptor.size`
   * bytes or fails; the digest is the caller's to check.
   */
  openBlob(repository: string, descriptor: Descriptor, fromOffset = 0): Readable {
    return blobStream(this.#transport, repository, descriptor, fromOffset)
  }

  /** A small blob whole (default: at most 4 MiB), size and digest checked. */
  readBlob(repository: string, descriptor: Descriptor, maxBytes = MAX_MANIFEST_BYTES): Promise<Buffer> {
    return readVerifiedBlob(this.#transport, repository, descriptor, maxBytes)
  }

  /** Asks for a tag or digest without reading what it names. Throws `image-not-found` when it names nothing. */
  async findManifest(repository: string, tagOrDigest: string): Promise<void> {
    const response = await this.#transport.open({
      method: 'HEAD',
      url: `/v2/${repository}/manifests/${encodeURIComponent(tagOrDigest)}`,
      scopes: [`repository:${repository}:pull`],
      headers: { accept: MANIFEST_ACCEPT },
      what: `look for manifest ${tagOrDigest} in ${repository}`,
      accept: [200],
    })
    await response.body.dump()
  }

  async hasBlob(repository: string, descriptor: Descriptor): Promise<boolean> {
    const response = await this.#transport.open({
      method: 'HEAD',
      url: `/v2/${repository}/blobs/${descriptor.digest}`,
      scopes: [`repository:${repository}:pull`],
      what: `look for blob ${descriptor.digest} in ${repository}`,
      accept: [200, 404],
    })
    await response.body.dump()
    return response.statusCode === 200 && Number(headerText(response.headers['content-length'])) === descriptor.size
  }

  /** Asks whether the registry answers and takes the credential, without naming a repository. */
  async ping(): Promise<void> {
    const asked = { method: 'GET', url: '/v2/', scopes: [], what: `look at ${this.registry}`, accept: [200] } as const
    const response = await this.#transport.open({ ...asked, attempts: 1 })
    await response.body.dump()
  }

  /** Whether the credential may push: opens an upload and cancels it. */
  checkPush(repository: string): Promise<void> {
    return checkPush(this.#transport, repository)
  }

  /** Takes a blob over from another repository of this registry; false when the registry does not (send it then). */
  mountBlob(repository: string, from: string, descriptor: Descriptor): Promise<boolean> {
    return mountBlob(this.#transport, repository, from, descriptor)
  }

  /** Sends a blob. Fails with `digest-mismatch` when the source has other bytes than the descriptor says. */
  uploadBlob(repository: string, descriptor: Descriptor, source: BlobSource): Promise<void> {
    return uploadBlob(this.#transport, repository, descriptor, source)
  }

  /** Stores a manifest or index under a tag or its own digest. Answers the digest of the bytes. */
  async putManifest(repository: string, tagOrDigest: string, mediaType: string, bytes: Uint8Array): Promise<Digest> {
    const what = `push of manifest ${tagOrDigest} to ${repository}`
    if (isDigest(tagOrDigest)) checkDigest(bytes, tagOrDigest, what)
    const { headers } = await this.#transport.read(
      {
        method: 'PUT',
        url: `/v2/${repository}/manifests/${encodeURIComponent(tagOrDigest)}`,
        scopes: [`repository:${repository}:pull,push`],
        headers: { 'content-type': mediaType },
        body: bytes,
        what,
        accept: [201],
      },
      MAX_MANIFEST_BYTES,
    )
    const said = headerText(headers['docker-content-digest'])
    if (isDigest(said)) checkDigest(bytes, said, what)
    return digestOf(bytes)
  }

  /** All tags of a repository, at most 10,000. */
  listTags(repository: string): Promise<string[]> {
    return listTags(this.#transport, repository)
  }

  /** Removes a manifest, and with it every tag that points to it. The credential needs the right `delete`. */
  async deleteManifest(repository: string, digest: Digest): Promise<void> {
    const response = await this.#transport.open({
      method: 'DELETE',
      url: `/v2/${repository}/manifests/${digest}`,
      scopes: [`repository:${repository}:delete`],
      what: `deletion of manifest ${digest} from ${repository}`,
      accept: [200, 202],
    })
    await response.body.dump()
  }

  /** Ends all connections. Streams that are still read fail. */
  close(): Promise<void> {
    return this.#transport.close()
  }

  /** A manifest or index as it is stored, whatever it says: its bytes and the type that the registry names. Always hashes the bytes. */
  async readManifest(repository: string, tagOrDigest: string): Promise<{ descriptor: Descriptor; bytes: Buffer }> {
    const what = `pull of manifest ${tagOrDigest} from ${repository}`
    const { headers, body } = await this.#transport.read(
      {
        method: 'GET',
        url: `/v2/${repository}/manifests/${encodeURIComponent(tagOrDigest)}`,
        scopes: [`repository:${repository}:pull`],
        headers: { accept: MANIFEST_ACCEPT },
        what,
        accept: [200],
      },
      MAX_MANIFEST_BYTES,
    )
    if (isDigest(tagOrDigest)) checkDigest(body, tagOrDigest, what)
    const mediaType = headerText(headers['content-type']).split(';')[0]?.trim().toLowerCase() ?? ''
    return { descriptor: { mediaType, digest: digestOf(body), size: body.length }, bytes: body }
  }

  async #fetchManifest(repository: string, tagOrDigest: string): Promise<FetchedManifest> {
    const { descriptor, bytes } = await this.readManifest(repository, tagOrDigest)
    const document = parseManifest(bytes, descriptor.mediaType, `manifest ${tagOrDigest} of ${repository}`)
    const own = document.kind === 'index' ? document.index.mediaType : document.manifest.mediaType
    return { descriptor: { ...descriptor, mediaType: own ?? descriptor.mediaType }, bytes, document }
  }
}
