import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TokenAnswer } from './token-answers.ts'
import type { TokenRequest, TokenServer } from './token-server.ts'

const MAX_FORM_BYTES = 65_536
const FORM_TIMEOUT_MS = 10_000
const FORM = 'application/x-www-form-urlencoded'

/** Serves a token server with `node:http`: bodies are bounded in size and time, anything but GET and POST is refused. Rejects only for failures of our own. */
export function tokenHandler(server: Pick<TokenServer, 'answer'>) {
  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    try {
      const read = await readTokenRequest(request)
      send(response, 'status' in read ? read : await server.answer(read))
    } catch (thrown) {
      if (!request.destroyed) throw thrown // else the client left while it sent: nobody waits for an answer
    }
  }
}

async function readTokenRequest(request: IncomingMessage): Promise<TokenRequest | TokenAnswer> {
  const { method, headers } = request
  if (method !== 'GET' && method !== 'POST') return plain(405, 'only GET and POST', { allow: 'GET, POST' })
  const query = (request.url ?? '').split('?', 2)[1] ?? ''
  const address = request.socket.remoteAddress ?? ''
  const base = { query: new URLSearchParams(query), authorization: headers.authorization, address }
  if (method === 'GET') return { ...base, method, form: new URLSearchParams() }
  if (headers['content-type']?.split(';')[0]?.trim().toLowerCase() !== FORM) return plain(415, `only ${FORM}`)
  const body = await readForm(request)
  if (body === undefined) return plain(413, `the form is over ${MAX_FORM_BYTES} bytes`, { connection: 'close' })
  return { ...base, method, form: new URLSearchParams(body) }
}

async function readForm(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = []
  let length = 0
  const late = setTimeout(() => request.destroy(), FORM_TIMEOUT_MS)
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      length += chunk.length
      if (length > MAX_FORM_BYTES) return undefined
      chunks.push(chunk)
    }
    return Buffer.concat(chunks).toString('utf8')
  } finally {
    clearTimeout(late)
  }
}

function plain(status: number, message: string, headers: Record<string, string> = {}): TokenAnswer {
  return { status, headers: { ...headers, 'content-type': 'text/plain' }, body: `${message}\n` }
}

function send(response: ServerResponse, { status, headers, body }: TokenAnswer): void {
  response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) })
  response.end(body)
}
