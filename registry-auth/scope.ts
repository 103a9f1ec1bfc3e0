/** One entry of a token's `access` claim, and of what a client asks for. */
export interface Access {
  type: string
  name: string
  actions: string[]
}

const MAX_SCOPES = 64
const MAX_SCOPE_LENGTH = 512

/**
 * Reads `type[(class)]:name:action[,action]*` (distribution, scope specification): names may hold `:` (a port), so the
 * first and the last one divide. Several may stand in one text, divided by blanks. Entries for the same name are joined; what
 * cannot be read is left out, as an entry that grants nothing. Undefined when there are more than 64 or one is over 512 long.
 */
export function parseScopes(texts: readonly string[]): Access[] | undefined {
  const parts = texts.flatMap((text) => text.split(' ')).filter((part) => part !== '')
  if (parts.length > MAX_SCOPES || parts.some((part) => part.length > MAX_SCOPE_LENGTH)) return undefined
  const byName = new Map<string, Access>()
  for (const part of parts) {
    const access = parseScope(part)
    if (access === undefined) continue
    const key = `${access.type}:${access.name}`
    const known = byName.get(key)
    byName.set(
      key,
      known === undefined ? access : { ...known, actions: [...new Set([...known.actions, ...access.actions])] },
    )
  }
  return [...byName.values()]
}

function parseScope(text: string): Access | undefined {
  const first = text.indexOf(':')
  const last = text.lastIndexOf(':')
  if (first <= 0 || last === first) return undefined
  const type = text.slice(0, first).replace(/\([^()]*\)$/, '')
  const name = text.slice(first + 1, last)
  const actions = text.slice(last + 1).split(',')
  const readable = /^[a-z]+$/.test(type) && name !== '' && actions.every((action) => /^(?:[a-z]+|\*)$/.test(action))
  return readable ? { type, name, actions: [...new Set(actions)] } : undefined
}

export function formatScope({ type, name, actions }: Access): string {
  return `${type}:${name}:${actions.join(',')}`
}
