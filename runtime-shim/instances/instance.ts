import type { KeptConnections } from './kept-connections.ts'

export type InstanceState = 'created' | 'starting' | 'ready' | 'draining' | 'ended'

/** Which moves are legal; anything else is a defect of ours and throws. */
const MOVES: Record<InstanceState, readonly InstanceState[]> = {
  created: ['starting', 'draining', 'ended'],
  starting: ['ready', 'draining', 'ended'],
  ready: ['draining', 'ended'],
  draining: ['ended'],
  ended: [],
}

export interface ExitInfo {
  code: number
  signal: string | null
  oom: boolean
}

/** One instance as the server sees it: its state, its calls and its connections. */
export class Instance {
  readonly id: string
  readonly reason: string
  readonly createdAtMs: number
  state: InstanceState
  inFlight = 0
  calls = 0
  idleSinceMs: number
  /** Since when it listens. */
  readyAtMs: number
  /** From the moment it listens. */
  connections: KeptConnections | undefined
  exit: ExitInfo | undefined
  memoryBytes = 0
  oomKills = 0
  statsAtMs = 0
  readonly #exited = Promise.withResolvers<ExitInfo>()

  constructor(id: string, state: 'created' | 'starting' | 'ready' | 'draining', reason: string, createdAtMs: number) {
    this.id = id
    this.state = state
    this.reason = reason
    this.createdAtMs = createdAtMs
    this.idleSinceMs = createdAtMs
    this.readyAtMs = createdAtMs
  }

  move(to: InstanceState): void {
    if (!MOVES[this.state].includes(to)) throw new Error(`instance ${this.id} cannot go from ${this.state} to ${to}`)
    this.state = to
    if (to === 'ready') this.readyAtMs = Date.now()
  }

  ended(exit: ExitInfo): void {
    if (this.state === 'ended') return
    this.move('ended')
    this.exit = exit
    this.#exited.resolve(exit)
    this.connections?.close()
  }

  /** The exit if it is known within `waitMs`: a broken connection is seen a moment before the end of its process. */
  async exitWithin(waitMs: number): Promise<ExitInfo | undefined> {
    if (this.exit !== undefined) return this.exit
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), waitMs)
    })
    try {
      return await Promise.race([this.#exited.promise, late])
    } finally {
      clearTimeout(timer)
    }
  }
}
