export { detectDocker } from './docker-detect.ts'
