import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { AppError } from '../common/index.ts'

/** The program that makes containers out of bundles. */
export interface OciRuntime {
  name: 'runc' | 'crun'
  path: string
}

/** Finds the runtime's program. Throws `program-missing`. */
export function detectRuntime(name: OciRuntime['name'] = 'runc'): OciRuntime {
  const directories = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin']
  const path = directories.map((directory) => join(directory, name)).find(isExecutable)
  if (path !== undefined) return { name, path }
  throw new AppError(`${name} is not installed`, {
    code: 'program-missing',
    fault: 'dependency',
    hint: `install the package ${name}`,
  })
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
