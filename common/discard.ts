import type { IncomingMessage } from 'node:http'

/**
 * Reads and forgets what a caller still sends although its answer is made, so that it gets to read the answer instead of a reset; but
 * for no more than `maxBytes` (16 MB) and `maxMs` (5 s): then the connection is cut.
 */
export function discardRest(request: IncomingMessage, maxBytes = 16 * 1024 * 1024, maxMs = 5_000): void {
  if (request.complete || request.destroyed) return
  let left = maxBytes
  const end = (): void => void request.socket.destroy()
  const timer = setTimeout(end, maxMs)
  request.on('data', (chunk: Buffer) => {
    left -= chunk.length
    if (left < 0) end()
  })
  request.once('close', () => clearTimeout(timer))
  request.resume()
}
