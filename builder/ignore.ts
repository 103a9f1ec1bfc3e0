import ignore from 'ignore'

/** The file in the source's root that says, in the rules of .gitignore, what is left out of the image. */
export const IGNORE_FILE = '.slipwayignore'

/** Read by the build itself, or of no use to a running function. */
const BUILD_FILES = ['/function.yaml', `/${IGNORE_FILE}`, '.git/', '.DS_Store', 'npm-debug.log*', '.slipway/']

/** What usually holds a secret: left out and said, because an image is read by more people than a source. */
const SECRET_FILES = [
  '.env',
  '.env.*',
  '!.env.example',
  '.npmrc',
  '.netrc',
  '*.pem',
  '*.key',
  '*.p12',
  '*.pfx',
  'id_rsa*',
  'id_ed25519*',
  'id_ecdsa*',
  '.ssh/',
  '.aws/',
  '.docker/',
]

export type Verdict = 'kept' | 'ignored' | 'secret'

export interface IgnoreRules {
  /** `path` is relative to the source, with `/`. */
  judge(path: string, isDirectory: boolean): Verdict
}

/**
 * The rules of a source: built-in ones first, then those of the user, so that `!name` takes a built-in one back.
 * `installsDependencies`: node_modules is made by the build, so the copy on the developer's machine is left out.
 */
export function ignoreRules(userRules: string, installsDependencies: boolean): IgnoreRules {
  const dependencies = installsDependencies ? ['node_modules/'] : []
  const all = ignore()
    .add([...BUILD_FILES, ...dependencies, ...SECRET_FILES])
    .add(userRules)
  const secrets = ignore().add(SECRET_FILES)
  return {
    judge(path, isDirectory) {
      const name = isDirectory ? `${path}/` : path
      if (!all.ignores(name)) return 'kept'
      return secrets.ignores(name) ? 'secret' : 'ignored'
    },
  }
}
