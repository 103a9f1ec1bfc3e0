export { decide, type PoolDecision, type PoolLimits, type PoolNumbers } from './decide.ts'
export { KeepUp } from './keep-up.ts'
