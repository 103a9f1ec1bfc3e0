import { describe, expect, it } from 'vitest'
import { seccompFilter } from '../../../sandbox/seccomp.ts'
import { ALLOWED_CALLS } from '../../../sandbox/seccomp-profile.ts'

describe('the filter of system calls', () => {
  it('names each call once', () => {
    expect(new Set(ALLOWED_CALLS).size).toBe(ALLOWED_CALLS.length)
  })

  it('lets nothing through that mounts, loads, traces, keeps keys or makes namespaces without a condition', () => {
    const forbidden = `mount umount2 move_mount open_tree fsopen fsconfig fsmount pivot_root chroot unshare setns clone clone3 ptrace
      process_vm_readv process_vm_writev kcmp keyctl add_key request_key bpf perf_event_open userfaultfd init_module finit_module
      delete_module kexec_load kexec_file_load reboot swapon swapoff open_by_handle_at name_to_handle_at acct quotactl settimeofday
      clock_settime adjtimex iopl ioperm syslog vhangup io_uring_setup personality socket pidfd_getfd sethostname`
    for (const name of forbidden.split(/\s+/)) expect(ALLOWED_CALLS).not.toContain(name)
  })

  it('is for the own architecture alone', () => {
    expect(seccompFilter('x64').architectures).toEqual(['SCMP_ARCH_X86_64'])
    expect(seccompFilter('arm64').architectures).toEqual(['SCMP_ARCH_AARCH64'])
    expect(() => seccompFilter('mips')).toThrow('no system call filter for the architecture mips')
  })

  it('refuses what it does not name with EPERM, and clone3 as if it did not exist', () => {
    const filter = seccompFilter('x64')
    expect(filter).toMatchObject({ defaultAction: 'SCMP_ACT_ERRNO', defaultErrnoRet: 1 })
    expect(filter.syscalls.find(({ names }) => names.includes('clone3'))).toMatchObject({ errnoRet: 38 })
  })
})
