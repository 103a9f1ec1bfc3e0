export { installPackages, missingPackages, type Need } from './apt.ts'
export { type Check, checkMachine } from './checks.ts'
export { type Machine, readMachine } from './machine.ts'
export type { SystemPackage } from './packages.ts'
