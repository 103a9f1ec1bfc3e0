/** Names that Docker Hub has in references and in the files of docker and podman. */
const NAMES = ['docker.io', 'index.docker.io', 'registry-1.docker.io']

/** The host that serves it, whatever it is called (docs.docker.com, "Registry authentication"). */
export const HUB_HOST = 'registry-1.docker.io'

export function isDockerHub(registry: string): boolean {
  return NAMES.includes(registry.toLowerCase())
}
