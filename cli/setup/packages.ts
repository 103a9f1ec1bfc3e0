/** One Debian package that the platform uses, and why. The only place where they are named. */
export interface SystemPackage {
  name: string
  /** A file that is there exactly when it is installed. */
  file: string
  reason: string
  neededFor: 'run' | 'test' | 'bench'
  /** Not needed by the other engine. */
  engine?: 'runc'
}

export const SYSTEM_PACKAGES: readonly SystemPackage[] = [
  { name: 'runc', file: '/usr/sbin/runc', neededFor: 'run', engine: 'runc', reason: 'starts the instances' },
  {
    name: 'conmon',
    file: '/usr/bin/conmon',
    neededFor: 'run',
    engine: 'runc',
    reason: 'holds the output of each instance while the platform restarts',
  },
  { name: 'docker-registry', file: '/usr/bin/docker-registry', neededFor: 'run', reason: 'the local registry' },
  {
    name: 'mmdebstrap',
    file: '/usr/bin/mmdebstrap',
    neededFor: 'run',
    reason: 'makes the base images from Debian packages',
  },
  {
    name: 'ca-certificates',
    file: '/usr/sbin/update-ca-certificates',
    neededFor: 'run',
    reason: 'certificates that registries are checked against',
  },
  {
    name: 'util-linux',
    file: '/usr/bin/setpriv',
    neededFor: 'run',
    reason: 'starts the server and the content worker without any power',
  },
  {
    name: 'mount',
    file: '/usr/bin/mount',
    neededFor: 'run',
    reason: 'the views of the server and the registry, and /tmp of each instance',
  },
  {
    name: 'e2fsprogs',
    file: '/usr/sbin/mkfs.ext4',
    neededFor: 'run',
    engine: 'runc',
    reason: 'makes the volume behind /tmp',
  },
  {
    name: 'docker.io',
    file: '/usr/sbin/dockerd',
    neededFor: 'test',
    reason: 'the other engine that the contract suite runs on',
  },
  {
    name: 'umoci',
    file: '/usr/bin/umoci',
    neededFor: 'test',
    reason: 'unpacks images as the reference for our own unpacker',
  },
  { name: 'podman', file: '/usr/bin/podman', neededFor: 'test', reason: 'a foreign client for our registry' },
  { name: 'buildah', file: '/usr/bin/buildah', neededFor: 'test', reason: 'a foreign client for our registry' },
  { name: 'skopeo', file: '/usr/bin/skopeo', neededFor: 'test', reason: 'a foreign client for our registry' },
  { name: 'python3-pip', file: '/usr/bin/pip3', neededFor: 'test', reason: 'gets moto, which stands in for AWS' },
  { name: 'iproute2', file: '/usr/sbin/ip', neededFor: 'test', reason: 'looks at network namespaces from outside' },
  { name: 'crun', file: '/usr/bin/crun', neededFor: 'test', reason: 'the other OCI runtime' },
  { name: 'nginx-light', file: '/usr/sbin/nginx', neededFor: 'bench', reason: 'what forwarding is compared with' },
]
