import type { HttpCase } from './case.ts'
import { chunks } from './chunks.ts'
import { connection } from './connection.ts'
import { fields } from './fields.ts'
import { host } from './host.ts'
import { length } from './length.ts'
import { lastOnes, pipelining } from './pipelining.ts'
import { requestLine } from './request-line.ts'
import { target } from './target.ts'
import { transferCoding } from './transfer-coding.ts'

export type { HttpCase, Seen } from './case.ts'

/** Malformed, ambiguous and valid but unusual requests, each with what RFC 9110 and 9112 (or the contract) demand. */
export const HTTP_CASES: readonly HttpCase[] = [
  ...requestLine,
  ...target,
  ...host,
  ...fields,
  ...length,
  ...transferCoding,
  ...chunks,
  ...pipelining,
  ...lastOnes,
  ...connection,
]
