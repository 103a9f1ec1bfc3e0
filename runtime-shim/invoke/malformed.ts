import { AppError } from '../../common/index.ts'

/** What a function sent as its answer breaks the grammar of HTTP/1.1 (RFC 9112), or could be read in two ways. */
export function malformed(why: string): AppError {
  return new AppError(`the answer is no HTTP/1.1 message: ${why}`, { code: 'answer-malformed', fault: 'user' })
}
