import { connect } from 'node:net'

/** Sends bytes as they are and answers everything that comes back until the other side ends the connection. */
export async function sendRaw(port: number, bytes: string | Buffer, timeoutMs = 3_000): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let answer = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    answer += chunk
  })
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const timer = setTimeout(() => reject(new Error(`no end within ${timeoutMs} ms; so far: ${answer}`)), timeoutMs)
  socket.once('close', () => resolve(answer)).once('error', () => resolve(answer))
  socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  return promise.finally(() => {
    clearTimeout(timer)
    socket.destroy()
  })
}
