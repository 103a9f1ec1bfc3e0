import { AppError } from '../common/index.ts'
import { headerText, type Transport } from './transport.ts'

const MAX_TAGS = 10_000
const MAX_PAGES = 100
const MAX_PAGE_BYTES = 4 * 1024 * 1024

/** All tags of a repository: pages are followed by their `Link` header; docker-registry 2.8 answers everything at once. */
export async function listTags(transport: Transport, repository: string): Promise<string[]> {
  const what = `list of tags of ${repository}`
  const tags: string[] = []
  let url: URL | undefined = new URL(`/v2/${repository}/tags/list`, transport.origin)
  for (let page = 0; url !== undefined; page += 1) {
    const { headers, body } = await transport.read(
      { method: 'GET', url, scopes: [`repository:${repository}:pull`], what, accept: [200] },
      MAX_PAGE_BYTES,
    )
    tags.push(...readTags(body, what))
    if (tags.length > MAX_TAGS || page >= MAX_PAGES) throw tooMany(what)
    url = nextPage(transport, headerText(headers['link']), url)
  }
  return tags
}

function nextPage(transport: Transport, link: string, current: URL): URL | undefined {
  const next = /<([^<>]{1,2000})>\s*;[^,]*\brel="?next"?/i.exec(link)?.[1]
  return next === undefined ? undefined : transport.resolveLocation(next, current)
}

function readTags(body: Buffer, what: string): string[] {
  let parsed: unknown
  try {
    parsed = JSON.parse(body.toString('utf8'))
  } catch {
    parsed = undefined
  }
  const tags: unknown = typeof parsed === 'object' && parsed !== null ? Reflect.get(parsed, 'tags') : undefined
  if (tags === null) return [] // a repository whose last tag was deleted
  if (Array.isArray(tags) && tags.every((tag) => typeof tag === 'string')) return tags
  throw new AppError(`${what} failed: the answer is no list of tags`, { code: 'registry-error', fault: 'dependency' })
}

function tooMany(what: string): AppError {
  return new AppError(`${what} failed: there are more than ${MAX_TAGS}`, {
    code: 'registry-error',
    fault: 'dependency',
    hint: 'remove old tags from the repository',
  })
}
