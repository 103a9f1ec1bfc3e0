export { type CgroupStats, Cgroups, detectCgroups } from './cgroup.ts'
export { Monitor } from './conmon.ts'
export { findContainerProcess, startContainer } from './container.ts'
export { ExitWatch, readExitCode } from './exit-watch.ts'
export { makeSkeleton, mountImageRoot, readImageFile } from './image-root.ts'
export { endMonitorProcesses } from './monitor-processes.ts'
export { type InstanceNames, instanceNames, isInstanceId, monitorsCgroup, platformCgroup } from './names.ts'
export { NetworkNamespaces } from './netns.ts'
export { chooseRuntime, detectRuntime, type OciRuntime, whyRuntimeFails } from './oci-runtime.ts'
export { rotateOutput } from './output-file.ts'
export { type Seccomp, seccompFilter } from './seccomp.ts'
export {
  commandLine,
  declaredEnvironment,
  identityFiles,
  MASKED_PATHS,
  OOM_SCORE,
  ociSpec,
  READONLY_PATHS,
  SHM_BYTES,
} from './spec.ts'
export { TmpVolumes } from './tmp-volume.ts'
export { DEFAULT_USER, resolveUser } from './users.ts'
