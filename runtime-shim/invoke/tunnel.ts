import { type Socket, Socket as TcpSocket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type CloseFrame, CloseFrameReader, type Side } from './close-frames.ts'

export interface TunnelOptions {
  /** Ends the tunnel when no byte passed either way for so long. */
  idleMs: number
  /** Ends the tunnel; its reason rejects. */
  signal: AbortSignal
}

/** How a tunnel ended: who closed first, and the close frame by which it did. */
export type TunnelEnd = { kind: 'idle' } | { kind: 'closed'; by: Side; frame: CloseFrame | undefined }

/** When one side has ended, the other has this long to end too. */
const LINGER_MS = 5_000

interface End {
  side: Side
  socket: Duplex
  reader: CloseFrameReader
}

/**
 * Passes bytes both ways until both sides have ended: each direction waits for the slower side, an end is passed on as an end (half-close),
 * an error as a reset. Holds no more than the sockets' own buffers. Both sockets are closed when it settles.
 */
export function tunnel(caller: Duplex, upstream: Socket, { idleMs, signal }: TunnelOptions): Promise<TunnelEnd> {
  const { promise, resolve, reject } = Promise.withResolvers<TunnelEnd>()
  const ends: [End, End] = [
    { side: 'caller', socket: caller, reader: new CloseFrameReader() },
    { side: 'function', socket: upstream, reader: new CloseFrameReader() },
  ]
  let closed: Extract<TunnelEnd, { kind: 'closed' }> | undefined
  let linger: NodeJS.Timeout | undefined
  const destroyBoth = (): void => ends.forEach(({ socket }) => void socket.destroy())
  const idle = setTimeout(() => {
    resolve(closed ?? { kind: 'idle' })
    destroyBoth()
  }, idleMs)
  const onAbort = (): void => {
    reject(signal.reason as Error)
    destroyBoth()
  }
  const closing = (side: Side, frame: CloseFrame | undefined): void => {
    closed ??= { kind: 'closed', by: side, frame }
    if (frame === undefined) linger ??= setTimeout(destroyBoth, LINGER_MS)
  }
  const onClose = (): void => {
    if (!ends.every(({ socket }) => socket.closed)) return
    clearTimeout(idle)
    clearTimeout(linger)
    signal.removeEventListener('abort', onAbort)
    resolve(closed ?? { kind: 'closed', by: 'caller', frame: undefined })
  }
  upstream.allowHalfOpen = true
  const pass = (from: End, to: Duplex): void => {
    const { side, socket, reader } = from
    socket.on('data', (chunk: Buffer) => {
      idle.refresh()
      reader.push(chunk)
      if (reader.found !== undefined) closing(side, reader.found)
      if (to.writable && !to.write(chunk)) socket.pause()
    })
    to.on('drain', () => socket.resume())
    socket.once('end', () => {
      closing(side, undefined)
      to.end()
    })
    socket.on('error', () => {
      closing(side, undefined)
      reset(to)
    })
    socket.once('close', () => {
      closing(side, undefined)
      if (!to.destroyed && !to.writableEnded) to.end()
      onClose()
    })
    socket.resume()
  }
  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort, { once: true })
  pass(ends[0], upstream)
  pass(ends[1], caller)
  if (caller.destroyed || upstream.destroyed) destroyBoth()
  return promise
}

/** An error of one side must not look like an orderly end on the other. */
function reset(socket: Duplex): void {
  if (socket instanceof TcpSocket && !socket.destroyed) socket.resetAndDestroy()
  else socket.destroy()
}
