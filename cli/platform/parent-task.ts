import { AppError } from '../../common/index.ts'
import type { HostConfig } from '../../runtime-shim/host/index.ts'

/** What `slipway up` leaves to the parent that it becomes, as JSON in SLIPWAY_PARENT. No secret is in it. */
export interface ParentTask {
  host: HostConfig
  /** Once the platform answers: a line to print, or a `slipway` command to run. */
  afterReady: { say: string } | { run: string[] }
  /** Whether failures are told as JSON. */
  json: boolean
}

export function runsAlready(dataDirectory: string): AppError {
  return new AppError(`Slipway runs already on ${dataDirectory}`, {
    code: 'already-running',
    fault: 'user',
    hint: 'look with "slipway status", end it with "slipway down", or choose another SLIPWAY_DATA',
  })
}
