export { FunctionRuntime, type FunctionRuntimeOptions } from './function-runtime.ts'
export { connectHost, type HostClient } from './host/host-client.ts'
export { GATEWAY_FD, type ServerConfig } from './host/port.ts'
export type { InstallationIdentity } from './instances/index.ts'
export type { JobStore, StoredJob } from './invoke/job.ts'
export type {
  EventCall,
  EventResult,
  InstanceView,
  PullCredential,
  PullCredentials,
  RecordSink,
  Runtime,
  WebCall,
} from './invoke/runtime.ts'
export { type LogLine, Output } from './output/index.ts'
