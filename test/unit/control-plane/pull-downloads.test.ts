import { EventEmitter } from 'node:events'
import { expect, it } from 'vitest'
import { createLogger } from '../../../common/index.ts'
import type { PullCredentialIssuer } from '../../../control-plane/pull-credentials.ts'
import { PullDownloads } from '../../../control-plane/pull-downloads.ts'
import type { HostClient } from '../../../runtime-shim/index.ts'

const logger = createLogger('test')
logger.level = 'silent'

/** A supervisor that fetches with `running`, and a server that has inherited `inForce`. */
function meet(running: string[], inForce: string[]) {
  const events = new EventEmitter()
  const cancelled: string[] = []
  const host = {
    call: async (op: string, args: { download: string }) => {
      if (op === 'downloads') return { downloads: running }
      cancelled.push(args.download)
      return {}
    },
    on: (event: string, listener: (data: object) => void) => void events.on(event, listener),
    onReconnect: (listener: () => void) => void events.on('reconnect', listener),
  } as unknown as HostClient
  const alive = new Set(inForce)
  const issuer = {
    idsInForce: () => [...alive],
    isInForce: (id: string) => alive.has(id),
    end: (id: string) => alive.delete(id),
  } as unknown as PullCredentialIssuer
  return { pulls: new PullDownloads(host, issuer, logger), events, running, alive, cancelled }
}

it('a download whose credential is lost is ended, and a credential that nobody fetches with any more', async () => {
  const { pulls, alive, cancelled } = meet(['both', 'lost'], ['both', 'idle'])
  await pulls.reconcile()
  expect([...alive]).toEqual(['both'])
  expect(cancelled).toEqual(['lost'])
})

it('an inherited credential ends with its download, or with the supervisor that fetched', async () => {
  const { pulls, events, running, alive } = meet(['a', 'b'], ['a', 'b'])
  await pulls.reconcile()
  events.emit('downloadEnded', { download: 'a' })
  expect([...alive]).toEqual(['b'])
  running.splice(0)
  events.emit('reconnect')
  await expect.poll(() => [...alive]).toEqual([])
})

it('what this server issued itself is left to the call that waits for it', async () => {
  const { pulls, events, alive, cancelled } = meet([], [])
  alive.add('own')
  await pulls.reconcile()
  events.emit('downloadEnded', { download: 'own' })
  expect([...alive]).toEqual(['own'])
  expect(await pulls.end('own', 'ended by admin')).toBe(true)
  expect(cancelled).toEqual(['own'])
  expect(await pulls.end('own', 'again')).toBe(false)
})
