export { decide, type PoolDecision, type PoolLimits, type PoolNumbers } from './decide.ts'
