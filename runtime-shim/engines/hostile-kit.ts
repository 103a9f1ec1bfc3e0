import { expect } from 'vitest'
import type { ContainerConfig } from '../../oci/index.ts'
import { type ContractKit, type EngineHarness, type Probe, within } from './contract-kit.ts'
import type { InstanceSpec } from './engine.ts'

/** A harness that can also make images: `fill` puts what it likes into a layer above the probe's. */
export interface HostileHarness extends EngineHarness {
  makeImage(fill: (directory: string) => void, config?: ContainerConfig): Promise<InstanceSpec['image']>
}

export interface HostileAccess {
  harness: () => HostileHarness
  kit: () => ContractKit
  /** A probe that runs as uid 0 inside, which has no capability. */
  asRoot: (overrides?: Partial<InstanceSpec>) => Promise<Probe>
}

/** Two calls in a row within three seconds each, also on a busy machine: what an undisturbed neighbour answers. */
export async function answersQuickly(probe: Probe): Promise<void> {
  for (let call = 0; call < 2; call += 1) expect(await within(probe.eval('return 1'), 3_000, 'answer')).toBe(1)
}

/** In scope of code inside: `call(function, ...numbers)` and `raw(name, ...numbers)` answer an errno name, or `none`. */
export const SYSCALLS = `
  const koffi = require('koffi'), libc = koffi.load(null)
  const errno = (result) => Number(result) >= 0 ? 'none'
    : Object.entries(os.constants.errno).find(([, number]) => number === koffi.errno())?.[0] ?? String(koffi.errno())
  const call = (signature, ...args) => errno(libc.func(signature)(...args))
  const numbers = process.arch === 'arm64'
    ? { keyctl: 219, add_key: 217, request_key: 218, bpf: 280, perf_event_open: 241, userfaultfd: 282, init_module: 105,
        finit_module: 273, kexec_load: 104, open_by_handle_at: 265, pivot_root: 41, swapon: 224, settimeofday: 170, quotactl: 60 }
    : { keyctl: 250, add_key: 248, request_key: 249, bpf: 321, perf_event_open: 298, userfaultfd: 323, init_module: 175,
        finit_module: 313, kexec_load: 246, open_by_handle_at: 304, pivot_root: 155, swapon: 167, settimeofday: 164, quotactl: 179 }
  const syscall = libc.func('long syscall(long, long, long, long, long, long)')
  const raw = (name) => errno(syscall(numbers[name], 0, 0, 0, 0, 0))
`
