import { createServer } from 'node:http'

// A web function is any HTTP server on port 9000.
const server = createServer((request, response) => {
  console.log(request.method, request.url, request.headers['x-scf-request-id'])
  response.setHeader('content-type', 'text/plain; charset=utf-8')
  response.end(`hello from ${request.headers['x-scf-name']}, you asked for ${request.url}\n`)
})
server.listen(9000, '0.0.0.0')
process.on('SIGTERM', () => server.close(() => process.exit(0)))
