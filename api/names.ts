import Type from 'typebox'

/** Names of namespaces, functions and aliases: also host names, repositories and Kubernetes names. */
export const NAME_PATTERN = '^[a-z]([a-z0-9-]{0,58}[a-z0-9])?$'
export const Name = Type.String({
  pattern: NAME_PATTERN,
  description: 'lower-case letters, digits and dashes; begins with a letter',
})
export const DigestText = Type.String({
  pattern: '^sha256:[0-9a-f]{64}$',
  description: 'sha256: and 64 hex digits',
})
