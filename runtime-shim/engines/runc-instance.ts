import { closeSync, existsSync } from 'node:fs'
import { constants } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError, identify, isAlive, openProcess, type ProcessIdentity, signalProcess } from '../../common/index.ts'
import { type InstanceNames, rotateOutput, startContainer } from '../../sandbox/index.ts'
import type { DialOutcome, EngineInstance, ExitStatus, InstanceSpec, InstanceStats } from './engine.ts'
import { removeTraces } from './runc-sandbox.ts'
import type { RuncTools } from './runc-tools.ts'
import { stopSignal } from './stop-signal.ts'

const KILL_TIMEOUT_MS = 10_000
const SIGKILL_CODE = 128 + constants.signals.SIGKILL

/** An instance of the runc engine, made by this process or adopted: all it knows, it reads from the instance's files and control group. */
export class RuncInstance implements EngineInstance {
  readonly id: string
  readonly outputFile: string
  readonly exited: Promise<ExitStatus>
  readonly #tools: RuncTools
  readonly #names: InstanceNames
  readonly #spec: InstanceSpec
  readonly #process: ProcessIdentity
  #exit: ExitStatus | undefined
  /** We have sent SIGKILL: an end by it is then not the kernel's doing. */
  #killed = false
  #oomKills = 0
  #rotation: Promise<unknown> = Promise.resolve()

  constructor(tools: RuncTools, names: InstanceNames, spec: InstanceSpec, process: ProcessIdentity) {
    this.id = names.id
    this.outputFile = names.output
    this.#tools = tools
    this.#names = names
    this.#spec = spec
    this.#process = process
    this.exited = tools.exits.wait(names, process).then((code) => this.#ended(code))
  }

  async start(): Promise<void> {
    await startContainer(this.#tools.runtime, this.#names, this.#process.pid)
  }

  async dial(port: number): Promise<DialOutcome> {
    if (this.#exit !== undefined || !existsSync(this.#names.netns)) return { kind: 'gone' }
    const outcome = await this.#tools.networks.dial(this.#names.netns, port)
    return outcome.kind === 'refused' && !isAlive(this.#process) ? { kind: 'gone' } : outcome
  }

  async applyCpuLimit(): Promise<void> {
    this.#tools.cgroups.limitCpu(this.#names.cgroup, this.#spec.cpus)
  }

  rotateOutput(): Promise<string> {
    const turn = this.#rotation.then(() => rotateOutput(this.#names))
    this.#rotation = turn.catch(() => undefined)
    return turn
  }

  async oomKills(): Promise<number> {
    // After the removal of the control group the count is what was seen last.
    this.#oomKills = Math.max(this.#oomKills, this.#tools.cgroups.oomKills(this.#names.cgroup))
    return this.#oomKills
  }

  async freeze(): Promise<void> {
    await this.#tools.cgroups.freeze(this.#names.cgroup)
  }

  async thaw(): Promise<void> {
    await this.#tools.cgroups.thaw(this.#names.cgroup)
  }

  async stop(graceMs: number): Promise<ExitStatus> {
    if (this.#exit !== undefined) return this.#exit
    const notStarted = existsSync(this.#names.startFifo)
    if (!notStarted && graceMs > 0) {
      if (this.#tools.cgroups.isFrozen(this.#names.cgroup)) await this.thaw()
      this.#signal(stopSignal(this.#spec.image.config.config?.StopSignal))
      await this.#endsWithin(graceMs)
    }
    if (this.#exit === undefined) await this.#kill()
    return this.exited
  }

  async stats(): Promise<InstanceStats> {
    return this.#tools.cgroups.stats(this.#names.cgroup)
  }

  async remove(): Promise<void> {
    if (this.#exit === undefined && isAlive(this.#process)) await this.#kill()
    await this.oomKills()
    await removeTraces(this.#tools, this.#names)
  }

  async #kill(): Promise<void> {
    this.#killed = true
    await this.#tools.cgroups.killAll(this.#names.cgroup)
    if (await this.#endsWithin(KILL_TIMEOUT_MS)) return
    throw new AppError(`instance ${this.id} was killed and its end was not reported within ${KILL_TIMEOUT_MS} ms`, {
      code: 'processes-remain',
      retryable: true,
    })
  }

  async #endsWithin(ms: number): Promise<boolean> {
    const controller = new AbortController()
    const late = sleep(ms, false, { signal: controller.signal }).catch(() => false)
    const ended = this.exited.then(() => true)
    try {
      return await Promise.race([ended, late])
    } finally {
      controller.abort()
    }
  }

  /** By a descriptor of the process, checked to be ours, so that no reused pid gets the signal. */
  #signal(signal: number): void {
    const pidfd = openProcess(this.#process.pid)
    if (pidfd === undefined) return
    try {
      if (identify(this.#process.pid)?.startTicks === this.#process.startTicks) signalProcess(pidfd, signal)
    } finally {
      closeSync(pidfd)
    }
  }

  async #ended(code: number): Promise<ExitStatus> {
    const oomKills = await this.oomKills()
    // A first process cannot be sent SIGKILL from inside its namespace, so what we did not kill, the kernel killed.
    this.#exit = exitStatus(code, oomKills > 0 && !this.#killed)
    return this.#exit
  }
}

/** Of a first process that ended with `code` while, or while not, the kernel killed for memory. */
export function exitStatus(code: number, killedForMemory: boolean): ExitStatus {
  return { code, signal: signalName(code), oom: code === SIGKILL_CODE && killedForMemory }
}

/** By the convention of shells and of conmon; an exit with such a code looks the same. */
function signalName(code: number): string | null {
  const entry = Object.entries(constants.signals).find(([, number]) => code === 128 + number)
  return entry?.[0] ?? null
}
