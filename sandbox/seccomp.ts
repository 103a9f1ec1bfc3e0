import { AppError } from '../common/index.ts'
import { ALLOWED_CALLS } from './seccomp-profile.ts'

/** The `linux.seccomp` section of the OCI runtime specification. */
export interface Seccomp {
  defaultAction: string
  defaultErrnoRet: number
  architectures: string[]
  syscalls: SeccompRule[]
}

interface SeccompRule {
  names: string[]
  action: string
  errnoRet?: number
  args?: { index: number; value: number; valueTwo?: number; op: string }[]
}

const EPERM = 1
const ENOSYS = 38
/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET of clone(2). */
const CLONE_NAMESPACES = 0x7e020000
const AF_ALG = 38
const AF_VSOCK = 40
/** Execution domains of personality(2): Linux, Linux with 32-bit uname, and the question for the current one. */
const PERSONALITIES = [0x0, 0x8, 0x20000, 0x20008, 0xffffffff]

const ARCHITECTURES: Partial<Record<NodeJS.Architecture, string>> = {
  x64: 'SCMP_ARCH_X86_64',
  arm64: 'SCMP_ARCH_AARCH64',
}

/**
 * The filter of system calls, for the machine's own architecture only: a filter for the 32-bit ones as well costs 17 ms at each start
 * (their calls end the process instead). Computed once. Throws `architecture-unsupported`.
 */
export function seccompFilter(architecture: NodeJS.Architecture = process.arch): Seccomp {
  const name = ARCHITECTURES[architecture]
  if (name === undefined) {
    throw new AppError(`no system call filter for the architecture ${architecture}`, {
      code: 'architecture-unsupported',
    })
  }
  const allow = (names: string[], args?: SeccompRule['args']): SeccompRule => ({
    names,
    action: 'SCMP_ACT_ALLOW',
    ...(args === undefined ? {} : { args }),
  })
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: EPERM,
    architectures: [name],
    syscalls: [
      allow([...ALLOWED_CALLS]),
      ...PERSONALITIES.map((value) => allow(['personality'], [{ index: 0, value, op: 'SCMP_CMP_EQ' }])),
      allow(['clone'], [{ index: 0, value: CLONE_NAMESPACES, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }]),
      // Its flags lie in memory, out of the filter's sight; C libraries take clone when it does not exist.
      { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
      allow(['socket'], [{ index: 0, value: AF_ALG, op: 'SCMP_CMP_LT' }]),
      allow(['socket'], [{ index: 0, value: AF_ALG + 1, op: 'SCMP_CMP_EQ' }]),
      allow(['socket'], [{ index: 0, value: AF_VSOCK, op: 'SCMP_CMP_GT' }]),
    ],
  }
}
