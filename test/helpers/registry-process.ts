import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { registryCommand } from '../../registry-auth/index.ts'

export interface RegistryProcess {
  /** `127.0.0.1:PORT` */
  host: string
  /** Lines of its log up to the one that names its port. */
  log: string[]
  readonly stop: () => Promise<void>
}

/**
 * Starts docker-registry with this configuration, which must listen on `127.0.0.1:0` and log with level `info`: it chooses its
 * port itself, so that no other program can take it in between. The kernel ends it with this process, also when that is killed.
 */
export async function startRegistryProcess(
  configFile: string,
  config: string,
  program?: string,
): Promise<RegistryProcess> {
  writeFileSync(configFile, config)
  const { file, args } = registryCommand(configFile)
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', program ?? file, ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const exited = once(child, 'exit')
  const log: string[] = []
  const host = await new Promise<string>((resolve, reject) => {
    const lines = createInterface(child.stderr)
    lines.on('line', (line) => {
      log.push(line)
      const port = /listening on 127\.0\.0\.1:([0-9]+)/.exec(line)?.[1]
      if (port !== undefined) resolve(`127.0.0.1:${port}`)
    })
    lines.once('close', () => reject(new Error(`${program ?? file} ended: ${log.slice(-5).join('\n')}`)))
  })
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL')
    await exited
  }
  return { host, log, stop }
}

/** A docker-registry with Basic authentication: without a password file it makes a user of its own and logs the password. */
export async function startBasicRegistry(home: string) {
  const config = {
    version: 0.1,
    log: { level: 'info', formatter: 'json' },
    storage: { filesystem: { rootdirectory: join(home, 'basic') } },
    http: { addr: '127.0.0.1:0' },
    auth: { htpasswd: { realm: 'basic', path: join(home, 'htpasswd') } },
  }
  const { host, log, stop } = await startRegistryProcess(join(home, 'basic.yml'), JSON.stringify(config))
  const passwords = log.map((line) => (JSON.parse(line) as { password?: string }).password)
  const password = passwords.find((found) => found !== undefined) ?? ''
  return { host, stop, credential: { kind: 'basic' as const, username: 'docker', password } }
}
