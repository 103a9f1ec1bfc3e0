import type { FunctionYaml } from '../api/index.ts'
import { type Detected, detect, type SourceFacts } from './detect.ts'
import { defaultName, readFunctionFile } from './function-file.ts'
import { DEFAULT_SOURCE_LIMITS, type Source, type SourceFile, type SourceTree, scanSource } from './source.ts'
import { readSourceText } from './source-file.ts'

/** What one build knows when its source has been read. */
export interface Prepared {
  tree: SourceTree
  /** `function.yaml` with the caller's settings over it. */
  settings: FunctionYaml
  name: string
  namespace: string
  detected: Detected
  texts: SourceTexts
}

/** The few files of a source that the build itself reads. */
interface SourceTexts {
  packageJson: string | undefined
  lock: string | undefined
  bootstrap: string | undefined
}

export const BOOTSTRAP = 'scf_bootstrap'
const MAX_PACKAGE_JSON_BYTES = 1024 * 1024
const MAX_LOCK_BYTES = 32 * 1024 * 1024
const MAX_BOOTSTRAP_BYTES = 256 * 1024

/** Reads what decides the build: names and sizes, `function.yaml`, package.json, lock file, start script. */
export function prepare(source: Source, settings: FunctionYaml, signal: AbortSignal): Prepared {
  const tree = scanSource(source, DEFAULT_SOURCE_LIMITS, signal)
  const merged = { ...readFunctionFile(source), ...settings }
  const texts = readTexts(tree)
  const detected = detect(factsOf(tree, texts), merged)
  const { name = defaultName(source), namespace = 'default' } = merged
  return { tree, settings: merged, name, namespace, detected, texts }
}

function readTexts(tree: SourceTree): SourceTexts {
  const read = (name: string, maxBytes: number): string | undefined => {
    const entry = tree.entries.find(
      (candidate): candidate is SourceFile => candidate.kind === 'file' && candidate.path === name,
    )
    return entry === undefined ? undefined : readSourceText(tree.root, entry, maxBytes)
  }
  return {
    packageJson: read('package.json', MAX_PACKAGE_JSON_BYTES),
    lock: read('npm-shrinkwrap.json', MAX_LOCK_BYTES) ?? read('package-lock.json', MAX_LOCK_BYTES),
    bootstrap: read(BOOTSTRAP, MAX_BOOTSTRAP_BYTES),
  }
}

function factsOf(tree: SourceTree, { packageJson, bootstrap }: SourceTexts): SourceFacts {
  const files = new Set(tree.entries.flatMap((entry) => (entry.kind === 'file' ? [entry.path] : [])))
  return { files, packageJson, bootstrap }
}
