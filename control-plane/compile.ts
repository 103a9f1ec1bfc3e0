import { flushCompileCache } from 'node:module'

// Loads what the server loads, runs nothing, and leaves what V8 made of it in NODE_COMPILE_CACHE (runtime-shim/host/compile-cache.ts).
await Promise.all([import('./serve.ts'), import('pino'), import('undici')])
flushCompileCache()
