export * from './invocation.ts'
export * from './names.ts'
export * from './version.ts'
