import { describe, expect, it } from 'vitest'
import type { ContainerConfig } from '../../../oci/index.ts'
import { containerOptions, type Placement } from '../../../runtime-shim/engines/docker-container.ts'
import type { InstanceSpec } from '../../../runtime-shim/engines/engine.ts'
import { instanceNames } from '../../../sandbox/index.ts'

const ID = '0123456789abcdef'
const names = instanceNames('cafe0001', ID, '/data/run/instances/x')
const LOCAL: Placement = {
  dataHash: 'cafe0001',
  names,
  local: true,
  logDriver: 'local',
  logFileBytes: 1_000_000,
  seccomp: { defaultAction: 'SCMP_ACT_ERRNO', defaultErrnoRet: 1, architectures: [], syscalls: [] },
  maxOpenFiles: 1000,
}

function spec(config: ContainerConfig = { Cmd: ['/x'] }, overrides: Partial<InstanceSpec> = {}): InstanceSpec {
  const digest = `sha256:${'a'.repeat(64)}` as const
  return {
    id: ID,
    directory: '/data/run/instances/x',
    image: {
      registry: '127.0.0.1:5000',
      repository: 'default/hello',
      digest,
      config: { architecture: 'amd64', os: 'linux', config, rootfs: { type: 'layers', diff_ids: [] } },
    },
    env: {},
    hostname: 'hello',
    memoryBytes: 128 * 1024 * 1024,
    cpus: 0.1,
    pids: 64,
    openFiles: 65_536,
    tmpBytes: 1024 * 1024,
    ...overrides,
  }
}

describe('a container for an instance', () => {
  const options = containerOptions(spec(), LOCAL)
  const host = options.HostConfig ?? {}

  it('is named after platform and instance, and takes its image by digest', () => {
    expect(options.name).toBe(`slipway-cafe0001-${ID}`)
    expect(options.Image).toBe(`127.0.0.1:5000/default/hello@sha256:${'a'.repeat(64)}`)
  })

  it('has no privilege, no network, a read-only root and every limit', () => {
    expect(host).toMatchObject({
      NetworkMode: 'none',
      ReadonlyRootfs: true,
      CapDrop: ['ALL'],
      IpcMode: 'private',
      CgroupnsMode: 'private',
      Memory: 134_217_728,
      MemorySwap: 134_217_728,
      PidsLimit: 64,
      Init: false,
      AutoRemove: false,
    })
    expect(host.SecurityOpt[0]).toBe('no-new-privileges')
    expect(host.SecurityOpt[1]).toMatch(/^seccomp=\{"defaultAction":"SCMP_ACT_ERRNO"/)
    expect(host).not.toHaveProperty('NanoCpus')
    expect(host).not.toHaveProperty('Privileged')
  })

  it('asks for no more open files than the Engine itself may have', () => {
    expect(host.Ulimits).toContainEqual({ Name: 'nofile', Soft: 1000, Hard: 1000 })
  })

  it('runs as 1000:1000 unless the image names a user', () => {
    expect(options.User).toBe('1000:1000')
    expect(containerOptions(spec({ Cmd: ['/x'], User: 'www' }), LOCAL).User).toBe('www')
  })

  it('never runs the health check of an image', () => expect(options.Healthcheck).toEqual({ Test: ['NONE'] }))

  it('gives an image no writable volume by its VOLUME lines, nor another /tmp', () => {
    const Volumes = { '/data/': {}, '/tmp': {}, '/etc/hosts': {}, relative: {} }
    const mounts = containerOptions(spec({ Cmd: ['/x'], Volumes }), LOCAL).HostConfig?.Mounts ?? []
    expect(mounts.filter((mount) => mount.Type === 'volume')).toEqual([
      expect.objectContaining({ Source: `slipway-cafe0001-${ID}-0`, Target: '/data', ReadOnly: true }),
      expect.objectContaining({ Source: `slipway-cafe0001-${ID}-1`, Target: '/relative', ReadOnly: true }),
    ])
    expect(mounts.filter((mount) => mount.ReadOnly !== true).map((mount) => mount.Target)).toEqual(['/tmp'])
  })

  it('elsewhere has a network of its own, one published port of 127.0.0.1 and a bounded tmpfs', () => {
    const elsewhere = containerOptions(spec(), { ...LOCAL, local: false, seccomp: undefined }).HostConfig
    expect(elsewhere).toMatchObject({
      NetworkMode: `slipway-cafe0001-${ID}`,
      PortBindings: { '9000/tcp': [{ HostIp: '127.0.0.1', HostPort: '' }] },
      Tmpfs: { '/tmp': 'rw,exec,nosuid,nodev,mode=1777,size=1048576' },
      Mounts: [],
      SecurityOpt: ['no-new-privileges'],
    })
  })

  it.each([
    [{ Entrypoint: ['/e'], Cmd: ['c'] }, {}, ['/e', 'c']],
    [{ Entrypoint: ['/e'], Cmd: ['c'] }, { args: ['a'] }, ['/e', 'a']],
    [{ Entrypoint: ['/e'], Cmd: ['c'] }, { args: [] }, ['/e']],
    [{ Entrypoint: ['/e'], Cmd: ['c'] }, { command: ['/k'] }, ['/k']],
    [{ Entrypoint: ['/e'], Cmd: ['c'] }, { command: ['/k'], args: ['a', ''] }, ['/k', 'a', '']],
    [{ Cmd: ['/c', 'd'] }, {}, ['/c', 'd']],
  ])('of %j with %j runs %j', (config, overrides, expected) => {
    const { Entrypoint, Cmd } = containerOptions(spec(config, overrides), LOCAL)
    expect({ Entrypoint, Cmd }).toEqual({ Entrypoint: expected, Cmd: [] })
  })

  it('without a command is refused', () => {
    expect(() => containerOptions(spec({}), LOCAL)).toThrow(/neither ENTRYPOINT nor CMD/)
  })
})
