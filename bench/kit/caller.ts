import { connect, type Socket } from 'node:net'

export interface Answer {
  status: number
  body: string
}

const HEAD_END = '\r\n\r\n'
const LENGTH = /\r\ncontent-length: *(\d+)/i

/** The bytes of a POST with a JSON body on a kept-alive connection. */
export function postRequest(path: string, body: string, headers: Record<string, string> = {}): Buffer {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const length = `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n`
  return Buffer.from(`POST ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\n${lines.join('')}${length}\r\n${body}`)
}

/**
 * One kept-alive HTTP connection that does as little as a caller can: sends ready-made bytes, notes when the first byte of the answer
 * came, and reads as far as its Content-Length says.
 */
export class Caller {
  readonly #socket: Socket
  #text = ''
  /** Bytes of the answer that have not come yet, as far as that is known: until then nobody looks into the text. */
  #missing = 0
  #sentAtMs = 0
  #waiting: { resolve: (answer: Answer) => void; reject: (why: Error) => void } | undefined
  #broken: Error | undefined
  firstByteMs = 0

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('error', (error) => this.#fail(error))
    socket.on('close', () => this.#fail(new Error('the connection was closed')))
  }

  static async open(port: number): Promise<Caller> {
    const socket = connect(port, '127.0.0.1')
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    return new Caller(socket)
  }

  /** Over a connected descriptor, for a server inside another network namespace. */
  static over(socket: Socket): Caller {
    return new Caller(socket)
  }

  /** Sends `request` and reads the answer; `firstByteMs` is then the time from here to its first byte. */
  call(request: Buffer): Promise<Answer> {
    if (this.#broken !== undefined) return Promise.reject(this.#broken)
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
      this.#text = ''
      this.#missing = 0
      this.#sentAtMs = performance.now()
      this.#socket.write(request)
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  #read(chunk: Buffer): void {
    if (this.#text === '') this.firstByteMs = performance.now() - this.#sentAtMs
    this.#text += chunk.toString('latin1')
    this.#missing -= chunk.length
    if (this.#missing > 0) return
    const end = this.#text.indexOf(HEAD_END)
    if (end === -1) return
    const length = Number(LENGTH.exec(this.#text)?.[1] ?? Number.NaN)
    if (Number.isNaN(length)) return this.#fail(new Error(`an answer without Content-Length: ${this.#text}`))
    this.#missing = end + HEAD_END.length + length - this.#text.length
    if (this.#missing > 0) return
    const answer = { status: Number(this.#text.slice(9, 12)), body: this.#text.slice(end + HEAD_END.length) }
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.resolve(answer)
  }

  #fail(error: Error): void {
    this.#broken ??= error
    this.#waiting?.reject(error)
    this.#waiting = undefined
  }
}
