// The HTTP server of an event function: POST /event-invoke on port 9000 calls FILE.FUNCTION below /var/user.
// It is the function's own process: it uses nothing but Node and knows nothing of the platform beyond the documented contract.
//
//   node server.mjs [HANDLER [CONTRACT [PORT]]]      HANDLER is FILE.FUNCTION, CONTRACT is scf, PORT is for tests
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const EXTENSIONS = ['.js', '.mjs', '.cjs', '.ts', '.mts', '.cts']
/** The platform bounds what it sends (6 MB unless a namespace is allowed more); this bound only keeps a stranger from filling memory. */
const MAX_BODY_BYTES = 256 * 1024 * 1024
/** Documented numbers: what the caller is told went wrong. */
const STATUS = { invalidEvent: 400, userException: 430, handlerNotFound: 437, loadFailed: 443 }

class CallFailure extends Error {
  constructor(statusCode, message, cause) {
    super(message, { cause })
    this.statusCode = statusCode
  }
}

// --- the function: loaded once, before the port is opened or (for an instance made without one) when it is told

/** Finds and imports FILE.FUNCTION; FILE may name folders, has no extension, and may be ES module, CommonJS or TypeScript. */
async function loadHandler(root, name) {
  const dot = name.lastIndexOf('.')
  if (dot < 1) throw new CallFailure(STATUS.handlerNotFound, `handler "${name}" is not of the form FILE.FUNCTION`)
  const base = join(root, name.slice(0, dot))
  const file = EXTENSIONS.map((extension) => base + extension).find(existsSync)
  if (file === undefined) {
    throw new CallFailure(STATUS.handlerNotFound, `handler "${name}": there is no ${base}${EXTENSIONS.join('|')}`)
  }
  const exported = await importFile(file).catch((cause) => {
    throw new CallFailure(STATUS.loadFailed, `loading ${file} failed: ${cause?.message ?? cause}`, cause)
  })
  const functionName = name.slice(dot + 1)
  const handler = exported?.[functionName] ?? exported?.default?.[functionName]
  if (typeof handler === 'function') return handler
  throw new CallFailure(STATUS.handlerNotFound, `handler "${name}": ${file} exports no function "${functionName}"`)
}

/** `require` is the quicker of the two and reads ES modules too; only one with a top-level await needs `import`. */
async function importFile(file) {
  try {
    return createRequire(file)(file)
  } catch (thrown) {
    if (thrown?.code !== 'ERR_REQUIRE_ASYNC_MODULE') throw thrown
    return await import(pathToFileURL(file).href)
  }
}

// --- contracts: what a handler is given, and where its result comes from

const CONTRACTS = {
  /** handler(event, context) or handler(event, context, callback): a promise, a value or the callback gives the result. */
  scf: (handler, body, headers) => {
    const event = parseEvent(body)
    const context = scfContext(headers)
    return new Promise((resolve, reject) => {
      const callback = (error, value) => (error ? reject(error) : resolve(value))
      const returned = handler(event, context, callback)
      if (typeof returned?.then === 'function') returned.then(resolve, reject)
      else if (returned !== undefined || handler.length < 3) resolve(returned)
    })
  },
}

function parseEvent(body) {
  if (body.length === 0) return {}
  try {
    return JSON.parse(body.toString('utf8'))
  } catch (cause) {
    throw new CallFailure(STATUS.invalidEvent, `event is not JSON: ${cause.message}`)
  }
}

function scfContext(headers) {
  const text = (name) => headers[`x-scf-${name}`] ?? ''
  const namespace = text('namespace')
  return {
    request_id: text('request-id'),
    function_name: text('name'),
    function_version: text('version'),
    namespace,
    memory_limit_in_mb: Number(text('memory')),
    time_limit_in_ms: Number(text('timeout')),
    environment: JSON.stringify({ SCF_NAMESPACE: namespace }),
    environ: `SCF_NAMESPACE=${namespace};`,
    tencentcloud_region: text('region'),
    tencentcloud_appid: text('appid'),
    tencentcloud_uin: text('uin'),
    callbackWaitsForEmptyEventLoop: true,
  }
}

// --- the server

function serve(loaded, port) {
  const server = createServer({ noDelay: true, keepAliveTimeout: 60_000, requestTimeout: 0 })
  let draining = false
  /** Calls in flight are answered; with the last of them the process ends. */
  const stop = () => {
    draining = true
    server.close(() => process.exit())
  }
  const answer = (response, status, text) => {
    if (draining) response.shouldKeepAlive = false
    response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
    response.end(text)
  }
  const answerFailure = (response, thrown, requestId) => {
    // What could not be loaded stays so: this process answers and makes room for a fresh one.
    if (loaded.failure !== undefined) {
      process.exitCode = 1
      stop()
    }
    answer(response, 500, JSON.stringify(describe(thrown, requestId)))
  }
  server.on('request', (request, response) => {
    if (request.method !== 'POST' || request.url !== '/event-invoke') {
      request.resume()
      answer(response, 404, JSON.stringify({ errorMessage: 'this server answers POST /event-invoke only' }))
      return
    }
    call(loaded, request).then(
      (text) => answer(response, 200, text),
      (thrown) => answerFailure(response, thrown, request.headers['x-scf-request-id']),
    )
  })
  process.on('SIGTERM', stop)
  server.listen(port, '0.0.0.0')
}

/** Runs one call and gives the result as JSON text. */
async function call(loaded, request) {
  const body = await readBody(request)
  if (loaded.failure !== undefined) throw loaded.failure
  const value = await loaded.contract(loaded.handler, body, request.headers)
  return JSON.stringify(value) ?? 'null'
}

function readBody(request) {
  return new Promise((resolve, reject) => {
    const chunks = []
    let bytes = 0
    request.on('data', (chunk) => {
      bytes += chunk.length
      if (bytes <= MAX_BODY_BYTES) chunks.push(chunk)
      else request.destroy()
    })
    request.on('end', () => resolve(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)))
    request.on('error', (cause) => reject(new CallFailure(STATUS.invalidEvent, `event was cut off: ${cause.message}`)))
  })
}

/** The documented form of a failed call (errorCode is always -1), and a line of it on stderr for whoever reads the log. */
function describe(thrown, requestId) {
  const statusCode = thrown instanceof CallFailure ? thrown.statusCode : STATUS.userException
  const cause = thrown instanceof CallFailure ? (thrown.cause ?? thrown.message) : thrown
  const stackTrace = cause instanceof Error ? String(cause.stack ?? cause) : String(cause)
  if (statusCode !== STATUS.invalidEvent) process.stderr.write(`${stackTrace}\n`)
  const errorMessage = thrown instanceof CallFailure ? thrown.message : 'user code exception caught'
  return { errorCode: -1, errorMessage, requestId, stackTrace, statusCode }
}

async function main([name = 'index.main_handler', contractName = 'scf', port = '9000']) {
  const contract = CONTRACTS[contractName]
  if (contract === undefined)
    throw new Error(`contract "${contractName}" is unknown: ${Object.keys(CONTRACTS).join(', ')}`)
  const root = process.env.USER_CODE_ROOT ?? '/var/user'
  const loaded = await loadHandler(root, name).then(
    (handler) => ({ contract, handler }),
    (failure) => ({ failure }),
  )
  serve(loaded, Number(port))
}

await main(process.argv.slice(2))
