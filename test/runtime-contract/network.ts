import { networkInterfaces } from 'node:os'
import { expect } from 'vitest'
import { type Bench, type Check, eventually, type Probe } from './bench.ts'

export const NO_LISTENER =
  'The request timed out in 30000ms.Please confirm your http server have enabled listening on port 9000.'
const METADATA = ['169.254.169.254', '100.100.100.200', '169.254.0.23']

/** `connected`, or the error code. */
function connectCode(host: string, port: number | string): string {
  return `return new Promise((resolve) => {
    const socket = net.connect(${port}, '${host}')
    socket.setTimeout(1500, () => { socket.destroy(); resolve('silence') })
    socket.on('connect', () => { socket.destroy(); resolve('connected') })
    socket.on('error', (thrown) => resolve(thrown.code))
  })`
}

const connectFrom = (probe: Probe, host: string, port: number): Promise<string> => probe.inside(connectCode(host, port))

/** These take half a minute whatever is done: begun first, looked at last. */
export function unheard(
  bench: Bench,
  mode: 'loopback' | 'silent',
): Promise<{ statusCode: number; result: unknown; id: string }> {
  return bench.once(`unheard-${mode}`, async () => {
    const probe = await bench.deploy(`unheard-${mode}`, { env: { MODE: mode }, maxInstances: 1 })
    const answer = await probe.call({})
    return { ...answer, id: probe.name }
  })
}

export const network = {
  F1: async (bench) => {
    const six = await bench.deploy('f1', { env: { MODE: 'ipv6' } })
    expect(await six.inside('return 1')).toBe(1)
    expect(await unheard(bench, 'loopback')).toMatchObject({ statusCode: 446, result: { errorMessage: NO_LISTENER } })
  },
  F2: async (bench) => {
    expect(await bench.inside(`return (await dns.lookup('localhost', { family: 4 })).address`)).toBe('127.0.0.1')
    expect(await connectFrom(await bench.of('plain'), 'localhost', 9000)).toBe('connected')
  },
  F3: async (bench) => {
    const own = await bench.inside<string>(`const { address } = await dns.lookup(os.hostname())
      return Object.values(os.networkInterfaces()).flat().some((each) => each.address === address) ? address : 'foreign'`)
    expect(own).not.toBe('foreign')
    expect(await connectFrom(await bench.of('plain'), own, 9000)).toBe('connected')
  },
  F4: async (bench) => {
    const resolver = await bench.inside(`return fs.readFileSync('/etc/resolv.conf', 'utf8')`)
    expect(resolver).not.toMatch(/^\s*(search|domain)|ndots/m)
  },
  F5: async (bench) => {
    const probe = await bench.of('plain')
    for (const host of METADATA) expect(`${host} ${await connectFrom(probe, host, 80)}`).not.toContain('connected')
    const { port, registryPort } = bench.platform
    const addresses = Object.values(networkInterfaces()).flatMap((entries) => entries ?? [])
    const hosts = addresses.filter(({ family }) => family === 'IPv4').map(({ address }) => address)
    for (const host of ['127.0.0.1', '172.17.0.1', ...hosts])
      for (const own of [port, registryPort])
        expect(`${host}:${own} ${await connectFrom(probe, host, own)}`).toMatch(/ECONNREFUSED|ENETUNREACH|EHOSTUNREACH/)
  },
  F6: async (bench) => {
    const other = await bench.deploy('f6', { concurrency: 2 })
    const addresses = await other.inside<string[]>(
      `return Object.values(os.networkInterfaces()).flat().map((each) => each.address).filter((each) => net.isIPv4(each))`,
    )
    const probe = await bench.of('plain')
    for (const address of addresses) await connectFrom(probe, address, 7777)
    // The address is the same in each namespace: what matters is that no connection came over.
    expect(await other.inside('return seen.otherPort')).toBe(0)
    await connectFrom(other, addresses[0] ?? '', 7777)
    await eventually(
      () => other.inside('return seen.otherPort'),
      (seen) => expect(seen).toBe(1),
    )
  },
  F7: async (bench) => {
    const results = await (await bench.of('root')).withSystemCalls<Record<string, string>>(`
      const socket = 'int socket(int, int, int)'
      const request = Buffer.alloc(40); request.write('lo')
      const fd = libc.func(socket)(2, 2, 0)
      // RTM_NEWROUTE, request and acknowledgement; then the acknowledgement's error number.
      const link = libc.func(socket)(16, 3, 0)
      const message = Buffer.alloc(28); message.writeUInt32LE(28, 0); message.writeUInt16LE(24, 4); message.writeUInt16LE(0x405, 6)
      message[16] = 2; message[20] = 254; message[22] = 2; message[23] = 1
      const answer = Buffer.alloc(256)
      libc.func('long send(int, uint8_t *, size_t, int)')(link, message, 28, 0)
      const size = Number(libc.func('long recv(int, _Out_ uint8_t *, size_t, int)')(link, answer, 256, 0))
      const route = size < 20 ? 'EPERM' : Object.entries(os.constants.errno).find(([, number]) => number === -answer.readInt32LE(16))?.[0] ?? 'none'
      return { raw: call(socket, 2, 3, 1), raw6: call(socket, 10, 3, 58), packet: call(socket, 17, 3, 0), route,
        down: call('int ioctl(int, unsigned long, uint8_t *)', fd, 0x8914, request) }`)
    for (const [name, code] of Object.entries(results)) expect(`${name}: ${code}`).toMatch(/: (EPERM|EACCES)$/)
  },
  F8: async (bench) => {
    const web = await bench.web('contract')
    for (let n = 0; n < 3; n += 1) await web.echo('GET / HTTP/1.1')
    const probe = await bench.deploy('f8')
    for (let n = 0; n < 3; n += 1) await probe.inside('return 1')
    expect(await probe.inside('return seen.otherPort')).toBe(0)
  },
} satisfies Record<string, Check>
