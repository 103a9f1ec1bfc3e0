export { type EngineName, examine } from './doctor.ts'
export { down } from './down.ts'
export { Steps } from './steps.ts'
export { CODE_DIRECTORY, up } from './up.ts'
