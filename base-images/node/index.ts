export { makeNodeBase, type NodeBase, type NodeBaseOptions } from './build.ts'
