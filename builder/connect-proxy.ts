import { createServer, request as httpRequest, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream'
import { localPort } from '../common/index.ts'

export interface ConnectProxyOptions {
  /** The only places that may be reached, `HOST:PORT` in lower case. */
  allowed: ReadonlySet<string>
  /** The proxy that this machine itself has to go through. */
  upstream: URL | undefined
}

export interface ConnectProxy {
  /** What was asked for and refused, at most 20 places. */
  readonly refused: ReadonlySet<string>
  readonly port: number
  close(): void
}

const MAX_CONNECTIONS = 128
const IDLE_MS = 60_000
const MAX_REFUSED = 20
const HOP_BY_HOP = ['connection', 'proxy-connection', 'proxy-authorization', 'keep-alive', 'te', 'upgrade']

/** `HOST:PORT` of a registry, with the default port of its scheme. */
export function placeOf(url: URL): string {
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port
  return `${url.hostname}:${port}`.toLowerCase()
}

/**
 * An HTTP proxy on a listening descriptor that somebody else made (inside a network namespace, so that the descriptor is the
 * namespace's only way out). CONNECT for https (RFC 9110 9.3.6), absolute-form for http (RFC 9112 3.2.2); everything that is
 * not allowed by name and port gets 403, so no redirect and no name that resolves to an inner address leads further.
 */
export async function serveConnectProxy(listeningFd: number, options: ConnectProxyOptions): Promise<ConnectProxy> {
  const refused = new Set<string>()
  const sockets = new Set<Duplex>()
  const isAllowed = (place: string): boolean => {
    if (options.allowed.has(place.toLowerCase())) return true
    if (refused.size < MAX_REFUSED) refused.add(place.slice(0, 300))
    return false
  }
  const server = createServer({ requestTimeout: 0 })
  server.maxConnections = MAX_CONNECTIONS
  server.on('connection', (socket) => track(socket, sockets))
  server.on('connect', (request: IncomingMessage, client: Duplex, head: Buffer) => {
    client.on('error', () => client.destroy())
    if (isAllowed(request.url ?? '')) tunnel(request.url ?? '', client, head, options.upstream, sockets)
    else client.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n')
  })
  server.on('request', (request, response) => {
    const target = URL.canParse(request.url ?? '') ? new URL(request.url ?? '') : undefined
    if (target?.protocol === 'http:' && isAllowed(placeOf(target))) forward(target, request, response, options.upstream)
    else response.writeHead(403).end()
  })
  await listen(server, listeningFd)
  return {
    refused,
    port: localPort(listeningFd),
    close() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

function listen(server: Server, fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ fd }, resolve)
  })
}

/** Keeps a socket only as long as it lives, and lets it live only while something moves. */
function track(socket: Duplex & { setTimeout?(ms: number, then: () => void): void }, sockets: Set<Duplex>): void {
  sockets.add(socket)
  socket.setTimeout?.(IDLE_MS, () => socket.destroy())
  socket.on('error', () => socket.destroy())
  socket.on('close', () => sockets.delete(socket))
}

function tunnel(place: string, client: Duplex, head: Buffer, upstream: URL | undefined, sockets: Set<Duplex>): void {
  const fail = (): void => {
    client.end('HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n')
  }
  const join = (remote: Duplex): void => {
    client.write('HTTP/1.1 200 OK\r\n\r\n')
    if (head.length > 0) remote.write(head)
    pipeline(client, remote, ignore)
    pipeline(remote, client, ignore)
  }
  if (upstream === undefined) {
    const { hostname, port } = new URL(`https://${place}`)
    const remote = connect({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port === '' ? 443 : port) })
    track(remote, sockets)
    remote.once('error', fail)
    remote.once('connect', () => {
      remote.off('error', fail)
      join(remote)
    })
    return
  }
  const asked = requestOf(upstream)({ ...proxyAddress(upstream), method: 'CONNECT', path: place })
  asked.once('error', fail)
  asked.once('connect', (answer, remote) => {
    track(remote, sockets)
    if (answer.statusCode === 200) join(remote)
    else fail()
  })
  asked.end()
}

function forward(target: URL, request: IncomingMessage, response: ServerResponse, upstream: URL | undefined): void {
  const kept = Object.entries(request.headers).filter(([name]) => !HOP_BY_HOP.includes(name))
  const path = `${target.pathname}${target.search}`
  const direct = { host: target.hostname.replace(/^\[|\]$/g, ''), port: target.port === '' ? 80 : target.port, path }
  const through = upstream === undefined ? undefined : proxyAddress(upstream)
  const address = through === undefined ? direct : { ...through, path: target.href }
  const headers = { ...Object.fromEntries(kept), ...through?.headers }
  const asked = requestOf(upstream)({ ...address, method: request.method, headers })
  asked.once('response', (answer) => {
    const answerHeaders = Object.entries(answer.headers).filter(([name]) => !HOP_BY_HOP.includes(name))
    response.writeHead(answer.statusCode ?? 502, Object.fromEntries(answerHeaders))
    pipeline(answer, response, ignore)
  })
  asked.once('error', () => {
    if (response.headersSent) response.destroy()
    else response.writeHead(502).end()
  })
  pipeline(request, asked, ignore)
}

function requestOf(upstream: URL | undefined): typeof httpRequest {
  return upstream?.protocol === 'https:' ? httpsRequest : httpRequest
}

function proxyAddress(upstream: URL): { host: string; port: number; headers: Record<string, string> } {
  const { hostname, username, password } = upstream
  const secret = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')
  const port = Number(placeOf(upstream).split(':').at(-1))
  return { host: hostname, port, headers: username === '' ? {} : { 'proxy-authorization': `Basic ${secret}` } }
}

/** A cut connection is the business of its two ends. */
function ignore(): void {}
