import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'

/** What a command of a foreign client said, and whether it succeeded. */
export interface Said {
  ok: boolean
  text: string
}

/** A foreign registry client with one login of its own. What it has no command for is absent. */
export interface RegistryUser {
  login(username: string, password: string): Promise<Said>
  /** Instead of a login: a refresh token, as other logins of the same client left it. */
  useIdentityToken(token: string): void
  pull(reference: string): Promise<Said>
  /** From one name to another, by whatever way the client has. */
  copy(from: string, to: string): Promise<Said>
  tags?(repository: string): Promise<Said>
  remove?(reference: string): Promise<Said>
}

export type ClientName = 'docker' | 'skopeo' | 'podman' | 'buildah'
export const CLIENTS: readonly ClientName[] = ['docker', 'skopeo', 'podman', 'buildah']

const TIMEOUT_MS = 60_000
const INSECURE = '--tls-verify=false'

/** Clients of a registry on loopback. Each call of `open` is somebody else: no login, no image. */
export class RegistryClients {
  readonly #host: string
  readonly #home = mkdtempSync(join(tmpdir(), 'slipway-clients-'))
  readonly #dockerSocket: string

  constructor(host: string, dockerSocket: string) {
    this.#host = host
    this.#dockerSocket = dockerSocket
  }

  get home(): string {
    return this.#home
  }

  open(name: ClientName): RegistryUser {
    const home = mkdtempSync(join(this.#home, `${name}-`))
    const authFile = join(home, 'config.json')
    writeFileSync(authFile, '{}')
    const useIdentityToken = (identitytoken: string): void => {
      const auth = Buffer.from('somebody:').toString('base64')
      writeFileSync(authFile, JSON.stringify({ auths: { [this.#host]: { auth, identitytoken } } }))
    }
    if (name === 'docker') return { ...this.#docker(home), useIdentityToken }
    if (name === 'skopeo') return { ...this.#skopeo(home, authFile), useIdentityToken }
    return { ...this.#local(name, home, authFile), useIdentityToken }
  }

  #docker(home: string): Omit<RegistryUser, 'useIdentityToken'> {
    const env = { DOCKER_HOST: `unix://${this.#dockerSocket}`, DOCKER_CONFIG: home }
    const docker = (args: string[], input = '') => run('docker', args, input, env)
    const pull = (reference: string) => docker(['pull', reference])
    return {
      login: (username, password) => docker(['login', '-u', username, '--password-stdin', this.#host], password),
      pull,
      copy: (from, to) =>
        inTurn(
          () => pull(from),
          () => docker(['tag', from, to]),
          () => docker(['push', to]),
        ),
    }
  }

  #skopeo(home: string, authFile: string): Omit<RegistryUser, 'useIdentityToken'> {
    const auth = ['--authfile', authFile]
    const skopeo = (args: string[], input = '') => run('skopeo', args, input)
    return {
      login: (username, password) =>
        skopeo(['login', INSECURE, ...auth, '-u', username, '--password-stdin', this.#host], password),
      pull: (reference) =>
        skopeo(['copy', '--src-tls-verify=false', ...auth, `docker://${reference}`, `dir:${mkdtempSync(`${home}/`)}`]),
      copy: (from, to) => {
        const verify = ['--src-tls-verify=false', '--dest-tls-verify=false']
        return skopeo(['copy', ...verify, ...auth, `docker://${from}`, `docker://${to}`])
      },
      tags: (repository) => skopeo(['list-tags', INSECURE, ...auth, `docker://${repository}`]),
      remove: (reference) => skopeo(['delete', INSECURE, ...auth, `docker://${reference}`]),
    }
  }

  /** podman and buildah: a store of images of their own, without a daemon. */
  #local(name: 'podman' | 'buildah', home: string, authFile: string): Omit<RegistryUser, 'useIdentityToken'> {
    const store = ['--storage-driver', 'vfs', '--root', join(home, 'root'), '--runroot', join(home, 'run')]
    const auth = [INSECURE, '--authfile', authFile]
    const client = (args: string[], input = '') => run(name, [...store, ...args], input)
    const always = name === 'buildah' ? ['--policy', 'always'] : []
    const pull = (reference: string) => client(['pull', ...always, ...auth, reference])
    const tags = (repository: string) => client(['search', '--list-tags', ...auth, repository])
    return {
      login: (username, password) =>
        client(['login', ...auth, '-u', username, '--password-stdin', this.#host], password),
      pull,
      copy: (from, to) =>
        inTurn(
          () => pull(from),
          () => client(['push', ...auth, from, `docker://${to}`]),
        ),
      ...(name === 'podman' ? { tags } : {}),
    }
  }
}

async function inTurn(...steps: (() => Promise<Said>)[]): Promise<Said> {
  let said: Said = { ok: true, text: '' }
  for (const step of steps) if (said.ok) said = await step()
  return said
}

async function run(file: string, args: string[], input: string, env: Record<string, string> = {}): Promise<Said> {
  const result = await execa(file, args, { input, env, reject: false, all: true, timeout: TIMEOUT_MS })
  return { ok: result.exitCode === 0, text: result.all }
}
