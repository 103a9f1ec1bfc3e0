import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What goes wrong with a request; each strikes `times` (default 1) and is then used up. */
export interface Fault {
  /** `GET /v2/a/b/blobs/`: method and beginning of the path. */
  on: string
  times?: number
  /** Answered in place of the registry. */
  answer?: { status: number; headers?: Record<string, string>; body?: string }
  /** The connection is cut after this many bytes of the answer's body. */
  cutAnswerAfterBytes?: number
  /** The connection is cut after this many bytes of the request's body. */
  cutRequestAfterBytes?: number
  /** This byte of the answer's body is changed. */
  flipByte?: number
  /** The registry does not see these headers of the request. */
  withoutHeaders?: string[]
  /** Nothing is answered. */
  hang?: boolean
}

export interface FaultyProxy {
  /** `127.0.0.1:PORT`, in place of the registry's. */
  host: string
  faults: Fault[]
  /** `GET /v2/a/b/blobs/sha256:… bytes=5-9`: method, path and range of each request. */
  requests: string[]
  close(): Promise<void>
}

/** An HTTP proxy in front of a registry on 127.0.0.1, through which tests break connections and answers. */
export async function startFaultyProxy(target: string): Promise<FaultyProxy> {
  const faults: Fault[] = []
  const requests: string[] = []
  const server = createServer((request, response) => {
    const line = `${request.method} ${request.url}`
    requests.push(`${line} ${request.headers.range ?? ''}`.trim())
    const fault = takeFault(faults, line)
    if (fault?.hang === true) return
    if (fault?.answer === undefined) forward(target, request, response, fault ?? { on: '' })
    else response.writeHead(fault.answer.status, fault.answer.headers).end(fault.answer.body)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = async (): Promise<void> => {
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  }
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, faults, requests, close }
}

function takeFault(faults: Fault[], line: string): Fault | undefined {
  const fault = faults.find(({ on, times = 1 }) => times > 0 && line.startsWith(on))
  if (fault !== undefined) fault.times = (fault.times ?? 1) - 1
  return fault
}

function forward(target: string, request: IncomingMessage, response: ServerResponse, fault: Fault): void {
  const headers = Object.fromEntries(
    Object.entries(request.headers).filter(([name]) => fault.withoutHeaders?.includes(name) !== true),
  )
  const url = `http://${target}${request.url}`
  const upstream = httpRequest(url, { method: request.method ?? 'GET', headers }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers)
    let offset = 0
    answer.on('data', (chunk: Buffer) => {
      const flip = (fault.flipByte ?? -1) - offset
      if (flip >= 0 && flip < chunk.length) chunk[flip] = (chunk[flip] ?? 0) ^ 1
      offset += chunk.length
      const excess = offset - (fault.cutAnswerAfterBytes ?? Number.POSITIVE_INFINITY)
      if (excess <= 0) response.write(chunk)
      else cut(response, chunk.subarray(0, Math.max(0, chunk.length - excess)), answer)
    })
    answer.on('end', () => response.end())
    answer.on('error', () => response.destroy())
  })
  upstream.on('error', () => response.destroy())
  let sent = 0
  request.on('data', (chunk: Buffer) => {
    sent += chunk.length
    if (sent <= (fault.cutRequestAfterBytes ?? Number.POSITIVE_INFINITY)) upstream.write(chunk)
    else request.destroy()
  })
  request.on('end', () => upstream.end())
  request.on('close', () => {
    if (!request.complete) upstream.destroy()
  })
}

/** Lets what was written reach the client before the connection ends. */
function cut(response: ServerResponse, last: Buffer, answer: IncomingMessage): void {
  answer.destroy()
  response.write(last, () => response.destroy())
}
