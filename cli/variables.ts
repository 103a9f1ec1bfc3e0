/** Every environment variable that the platform reads; docs/CONFIG.md is made from this, and a test finds one that is missing here. */
export const VARIABLES: readonly { name: string; default: string; meaning: string }[] = [
  {
    name: 'SLIPWAY_DATA',
    default: '`/var/lib/slipway` as root, else `$XDG_DATA_HOME/slipway`',
    meaning: 'the data directory: one platform each, several side by side on one machine',
  },
  {
    name: 'SLIPWAY_SERVER',
    default: 'of the data directory',
    meaning: 'where the CLI finds the API, for example `http://127.0.0.1:8080`',
  },
  { name: 'SLIPWAY_TOKEN', default: '`$SLIPWAY_DATA/admin-token`', meaning: 'what the CLI shows to the API' },
  { name: 'SLIPWAY_NAMESPACE', default: '`default`', meaning: 'the namespace of commands that are given none' },
  {
    name: 'SLIPWAY_CACHE',
    default: '`$SLIPWAY_DATA/cache`',
    meaning: 'where builds keep base images and layers; may be shared by data directories',
  },
  {
    name: 'SLIPWAY_LOG_LEVEL',
    default: '`info`',
    meaning: 'of supervisor, server and worker: `debug`, `info`, `warn`, `error`',
  },
  {
    name: 'SLIPWAY_KEEP_INSTANCES',
    default: 'unset',
    meaning: '`1`: the end of `up` leaves everything running (a unit of systemd that restarts)',
  },
  {
    name: 'DOCKER_AUTH_CONFIG',
    default: 'unset',
    meaning: 'a docker configuration as text: credentials of builds and pushes to other registries',
  },
  {
    name: 'REGISTRY_AUTH_FILE',
    default: 'the files of docker (`$DOCKER_CONFIG`) and podman',
    meaning: 'where those credentials lie, for docker, podman and here',
  },
  {
    name: 'AWS_*',
    default: 'unset',
    meaning:
      'keys, roles and endpoints for Amazon ECR, as all AWS programs read them; `slipway up` hands them to the server',
  },
  { name: 'DOCKER_HOST', default: '`/var/run/docker.sock`', meaning: 'the socket of the Docker engine' },
]

/** Between our own processes only; not for users. */
export const INTERNAL_VARIABLES: readonly string[] = [
  'SLIPWAY_HOST_CONFIG',
  'SLIPWAY_PARENT',
  'SLIPWAY_PLATFORM',
  'SLIPWAY_CODE_CACHE',
  'SLIPWAY_VIEW',
  'SLIPWAY_GENERATION',
]
