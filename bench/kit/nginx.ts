import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { listening } from './bare.ts'
import type { Defer } from './scenario.ts'

/** What a proxy does at least for each call: an id that is passed on and answered, and a line in the access log. */
function configuration(directory: string, port: number, upstreamPort: number): string {
  return `
daemon off;
worker_processes 1;
pid ${directory}/pid;
error_log ${directory}/error.log warn;
events { worker_connections 1024; }
http {
  log_format calls '$time_iso8601 $remote_addr $request_id "$request" $status $body_bytes_sent $request_time $upstream_response_time';
  access_log ${directory}/access.log calls;
  client_body_temp_path ${directory}/body;
  proxy_temp_path ${directory}/proxy;
  fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi;
  scgi_temp_path ${directory}/scgi;
  client_max_body_size 64m;
  keepalive_requests 1000000;
  upstream function { server 127.0.0.1:${upstreamPort}; keepalive 64; keepalive_requests 1000000; }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://function;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header X-Request-Id $request_id;
      add_header X-Request-Id $request_id;
    }
    location /stream/ {
      proxy_pass http://function;
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_set_header Connection "";
      proxy_set_header X-Request-Id $request_id;
      add_header X-Request-Id $request_id;
    }
  }
}
`
}

/** Starts an nginx of its own in front of a server on loopback; answers the pids of its workers. */
export async function startNginx(port: number, upstreamPort: number, defer: Defer): Promise<number[]> {
  const directory = mkdtempSync(join(tmpdir(), 'slipway-bench-'))
  defer(() => rmSync(directory, { recursive: true, force: true }))
  const file = join(directory, 'nginx.conf')
  writeFileSync(file, configuration(directory, port, upstreamPort))
  const child = spawn('nginx', ['-c', file, '-e', join(directory, 'error.log')], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const exited = once(child, 'exit')
  defer(async () => {
    child.kill('SIGTERM')
    await exited
  })
  const caller = await listening(port)
  caller.close()
  const workers = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ')
  return workers.map(Number)
}
