import type { Version } from '../../api/index.ts'
import type { InstallationIdentity } from '../instances/index.ts'
import { REQUEST_ID_HEADER, versionHeaders } from './headers.ts'

/** What no field value may have (RFC 9110 5.5): it would end the line, or is no Latin-1. */
// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const NO_VALUE = /[^\t\x20-\x7e\x80-\xff]/

/** The first lines of each event request of a version: made once, since every call of it begins with the same. */
export class EventHeads {
  readonly #identity: InstallationIdentity
  readonly #known = new WeakMap<Version, string>()
  readonly #platformLines = new WeakMap<Version, string>()

  constructor(identity: InstallationIdentity) {
    this.#identity = identity
  }

  of(version: Version): string {
    const known = this.#known.get(version)
    if (known !== undefined) return known
    const head = `POST /event-invoke HTTP/1.1\r\nhost: function\r\nconnection: keep-alive\r\ncontent-type: application/json\r\n${this.linesOf(version)}`
    this.#known.set(version, head)
    return head
  }

  /** What the platform adds to every call of a version. */
  linesOf(version: Version): string {
    const known = this.#platformLines.get(version)
    if (known !== undefined) return known
    const headers = Object.entries(versionHeaders(version, this.#identity))
    const lines = headers.map(([name, value]) => line(name, value)).join('')
    this.#platformLines.set(version, lines)
    return lines
  }
}

/** `callerRequestId` is visible ASCII (the gateway takes no other). */
export function perCallHeaders(requestId: string, callerRequestId: string | null): string {
  const own = `${REQUEST_ID_HEADER}: ${requestId}\r\n`
  return callerRequestId === null ? own : own + line('x-request-id', callerRequestId)
}

function line(name: string, value: string): string {
  if (NO_VALUE.test(value)) throw new Error(`header ${name} cannot have the value ${JSON.stringify(value)}`)
  return `${name}: ${value}\r\n`
}
