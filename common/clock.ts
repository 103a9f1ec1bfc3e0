/**
 * The clock that the processes of a machine share and that nobody sets (CLOCK_MONOTONIC), in ms: what is written down for another process,
 * and must happen after a time and not at a time, is written in it. It begins anew with each boot.
 */
export function machineMs(): number {
  return ORIGIN_MS + performance.now()
}

const ORIGIN_MS = Number(process.hrtime.bigint()) / 1e6 - performance.now()

/** A moment in Unix time on the clock above, as both stand now. */
export function unixToMachineMs(unixMs: number): number {
  return unixMs - Date.now() + machineMs()
}

export function machineToUnixMs(ms: number): number {
  return ms - machineMs() + Date.now()
}
