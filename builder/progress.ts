import { performance } from 'node:perf_hooks'

/** What a build tells while it runs: a step begins, says something, ends. */
export interface BuildEvent {
  step: BuildStep
  state: 'started' | 'note' | 'done' | 'reused' | 'failed'
  detail?: string
  /** With `done`, `reused` and `failed`. */
  durationMs?: number
}

export type BuildStep = 'source' | 'plan' | 'dependencies' | 'application' | 'image' | 'push'

export interface StepTime {
  name: BuildStep
  durationMs: number
}

/** What a step reports of itself: `reused` when nothing had to be made. */
export interface StepOutcome<T> {
  value: T
  detail: string
  reused?: boolean
}

/** Times every step of one build and passes on what happens in it. */
export class Steps {
  readonly times: StepTime[] = []
  readonly #tell: (event: BuildEvent) => void

  constructor(tell: (event: BuildEvent) => void) {
    this.#tell = tell
  }

  async run<T>(
    step: BuildStep,
    work: (note: (text: string) => void) => StepOutcome<T> | Promise<StepOutcome<T>>,
  ): Promise<T> {
    const startedMs = performance.now()
    this.#tell({ step, state: 'started' })
    const elapsed = (): number => Math.round((performance.now() - startedMs) * 10) / 10
    try {
      const { value, detail, reused = false } = await work((text) => this.#tell({ step, state: 'note', detail: text }))
      this.times.push({ name: step, durationMs: elapsed() })
      this.#tell({ step, state: reused ? 'reused' : 'done', detail, durationMs: elapsed() })
      return value
    } catch (thrown) {
      this.#tell({ step, state: 'failed', durationMs: elapsed() })
      throw thrown
    }
  }
}
