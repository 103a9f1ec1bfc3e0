import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { AppError, run } from '../../common/index.ts'

/** One place that packages come from, as sources.list(5) describes it. */
export interface AptSource {
  uris: string[]
  suites: string[]
  components: string[]
  /** Further fields (`Signed-By`, `Trusted`, `Architectures`), as written. */
  fields: Record<string, string>
}

export interface AptSetup {
  /** The release that this machine runs, `bookworm`: the base is made of the same. */
  codename: string
  sources: AptSource[]
  /** What apt needs to reach them here: proxies and certificates, as an apt.conf(5) text. */
  configuration: string
}

/** The machine's own package sources for its own release, without third-party ones. Throws `apt-sources-missing`. */
export async function readAptSetup(root = '/etc'): Promise<AptSetup> {
  const codename = /^VERSION_CODENAME="?([a-z-]+)"?$/m.exec(readFileSync(join(root, 'os-release'), 'utf8'))?.[1]
  const sources = sourceFiles(root).flatMap(({ name, text }) =>
    name.endsWith('.sources') ? parseDeb822(text) : parseOneLine(text),
  )
  const own = codename === undefined ? [] : releaseSources(sources, codename)
  if (codename === undefined || own.length === 0) {
    throw new AppError(`no package source for ${codename ?? 'this release'} is configured in ${root}/apt`, {
      code: 'apt-sources-missing',
      fault: 'dependency',
      hint: 'the base image is made from Debian or Ubuntu packages: name their archive in /etc/apt/sources.list',
    })
  }
  const { stdout } = await run('apt-config', ['dump', 'Acquire'])
  const needed = stdout
    .split('\n')
    .filter((line) => /^Acquire::https?::([\w.-]+::)?(Proxy|CAInfo|Verify-\w+)\b/.test(line))
  return { codename, sources: own, configuration: needed.map((line) => `${line}\n`).join('') }
}

function sourceFiles(root: string): { name: string; text: string }[] {
  const directory = join(root, 'apt/sources.list.d')
  const read = (path: string): { name: string; text: string }[] => {
    try {
      return [{ name: path, text: readFileSync(path, 'utf8') }]
    } catch {
      return []
    }
  }
  const names = listNames(directory).filter((name) => /\.(list|sources)$/.test(name))
  return [join(root, 'apt/sources.list'), ...names.map((name) => join(directory, name))].flatMap(read)
}

function listNames(directory: string): string[] {
  try {
    return readdirSync(directory).sort()
  } catch {
    return []
  }
}

/** Only the release itself, its updates and its security fixes: what else a machine adds is no part of a base. */
export function releaseSources(sources: readonly AptSource[], codename: string): AptSource[] {
  const wanted = [codename, `${codename}-updates`, `${codename}-security`]
  return sources
    .map((source) => ({ ...source, suites: source.suites.filter((suite) => wanted.includes(suite)) }))
    .filter((source) => source.suites.length > 0)
}

/** `deb [option=value] URI SUITE COMPONENT…` */
export function parseOneLine(text: string): AptSource[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s*([^#]*)/.exec(line)
    if (match === null) return []
    const [, options = '', uri = '', suite = '', components = ''] = match
    const pairs = options.split(/\s+/).flatMap((option): [string, string][] => {
      const [key = '', value = ''] = option.split('=')
      const field = FIELD_OF_OPTION[key]
      return field === undefined ? [] : [[field, value.replaceAll(',', ' ')]]
    })
    return [{ uris: [uri], suites: [suite], components: words(components), fields: Object.fromEntries(pairs) }]
  })
}

const FIELD_OF_OPTION: Partial<Record<string, string>> = {
  'signed-by': 'Signed-By',
  trusted: 'Trusted',
  arch: 'Architectures',
}

/** Stanzas of `Field: value`; continuation lines begin with a blank (deb822(5)). */
export function parseDeb822(text: string): AptSource[] {
  const withoutComments = text.split('\n').filter((line) => !line.startsWith('#'))
  return withoutComments
    .join('\n')
    .split(/\n\s*\n/)
    .flatMap((stanza) => {
      const fields = new Map<string, string>()
      for (const [, key = '', value = ''] of stanza.matchAll(/^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)/gm)) {
        fields.set(key.toLowerCase(), value)
      }
      const list = (key: string): string[] => words(fields.get(key) ?? '')
      if (fields.get('enabled')?.trim() === 'no' || !list('types').includes('deb')) return []
      const kept = KEPT_FIELDS.flatMap((key) => {
        const value = fields.get(key.toLowerCase())
        return value === undefined ? [] : [[key, value] as const]
      })
      const source = { uris: list('uris'), suites: list('suites'), components: list('components') }
      return [{ ...source, fields: Object.fromEntries(kept) }]
    })
}

const KEPT_FIELDS = ['Signed-By', 'Trusted', 'Architectures', 'Check-Valid-Until']

export function formatDeb822(sources: readonly AptSource[]): string {
  return sources
    .map(({ uris, suites, components, fields }) => {
      const plain = { Types: 'deb', URIs: uris.join(' '), Suites: suites.join(' '), Components: components.join(' ') }
      const lines = Object.entries({ ...plain, ...fields }).map(([key, value]) => `${key}: ${value}`)
      return `${lines.join('\n')}\n`
    })
    .join('\n')
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '')
}
