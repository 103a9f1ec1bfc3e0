export { BASE_REPOSITORY, makeNodeBase, type NodeBase, type NodeBaseOptions, RUNTIME } from './build.ts'
