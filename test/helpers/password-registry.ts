import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { startRegistryProcess } from './registry-process.ts'

/** bcrypt as docker-registry wants it, by the C library through perl, which every Debian has; the password goes in by stdin. */
const BCRYPT = 'my $p = <STDIN>; print crypt($p, q($2y$05$slipwayslipwayslipwayu))'

export interface PasswordRegistry {
  /** `127.0.0.1:PORT` */
  host: string
  stop(): Promise<void>
}

/** A docker-registry with Basic authentication, as Amazon ECR has it, that knows these users. */
export async function startPasswordRegistry(users: Readonly<Record<string, string>>): Promise<PasswordRegistry> {
  const home = mkdtempSync(join(tmpdir(), 'slipway-password-registry-'))
  const lines = await Promise.all(
    Object.entries(users).map(async ([name, password]) => {
      const { stdout } = await execa('perl', ['-e', BCRYPT], { input: password })
      return `${name}:${stdout}\n`
    }),
  )
  writeFileSync(join(home, 'htpasswd'), lines.join(''))
  const config = {
    version: 0.1,
    log: { level: 'info', formatter: 'json' },
    storage: { filesystem: { rootdirectory: join(home, 'data') } },
    http: { addr: '127.0.0.1:0' },
    auth: { htpasswd: { realm: 'basic', path: join(home, 'htpasswd') } },
  }
  const { host, stop } = await startRegistryProcess(join(home, 'config.yml'), JSON.stringify(config))
  return {
    host,
    stop: async () => {
      await stop()
      rmSync(home, { recursive: true, force: true })
    },
  }
}
