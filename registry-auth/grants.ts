import { AppError } from '../common/index.ts'
import type { Access } from './scope.ts'

export type Action = 'pull' | 'push' | 'delete'

export const ACTIONS: readonly Action[] = ['pull', 'push', 'delete']

/** A right: these actions on one repository, on all below a prefix (`default/*`), or on all (`*`). */
export interface Grant {
  repository: string
  actions: readonly Action[]
}

const NAME = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/

/** Reads `pull,push:PREFIX/*`. Throws `grant-invalid`. */
export function parseGrant(text: string): Grant {
  const colon = text.indexOf(':')
  const actions = text.slice(0, Math.max(colon, 0)).split(',')
  const repository = text.slice(colon + 1)
  const known = ACTIONS.filter((action) => actions.includes(action))
  const name = repository.endsWith('/*') ? repository.slice(0, -2) : repository
  const valid =
    colon > 0 && known.length === actions.length && (name === '*' || (name.length <= 255 && NAME.test(name)))
  if (valid) return { repository, actions: known }
  throw new AppError(`"${text.slice(0, 300)}" is no right to repositories`, {
    code: 'grant-invalid',
    fault: 'user',
    hint: 'write ACTIONS:REPOSITORY, for example pull,push:default/* (actions: pull, push, delete)',
  })
}

export function formatGrant({ actions, repository }: Grant): string {
  return `${actions.join(',')}:${repository}`
}

/** What of the requested access the grants allow: the intersection, without entries that keep no action. */
export function allowedAccess(grants: readonly Grant[], requested: readonly Access[]): Access[] {
  return requested
    .map((access) => ({ ...access, actions: allowedActions(grants, access) }))
    .filter(({ actions }) => actions.length > 0)
}

/** `*` asks for everything and gets what there is; of types other than repositories only the catalog exists, for who may pull all. */
function allowedActions(grants: readonly Grant[], { type, name, actions }: Access): string[] {
  if (type === 'registry') {
    const all = grants.some((grant) => grant.repository === '*' && grant.actions.includes('pull'))
    return name === 'catalog' && all ? ['*'] : []
  }
  // What is no name of a repository (`default/../other`) lies below no prefix, whoever reads it next.
  if (type !== 'repository' || !NAME.test(name)) return []
  const held = new Set<string>(
    grants.filter((grant) => covers(grant.repository, name)).flatMap((grant) => grant.actions),
  )
  const wanted = actions.includes('*') ? ACTIONS : actions
  return [...new Set(wanted)].filter((action) => held.has(action))
}

function covers(pattern: string, name: string): boolean {
  if (pattern === '*' || pattern === name) return true
  return pattern.endsWith('/*') && name.startsWith(pattern.slice(0, -1))
}
