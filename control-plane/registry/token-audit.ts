import type { Logger } from '../../common/index.ts'
import { TEMPORARY_PREFIX, type TokenAudit } from '../../registry-auth/index.ts'

/** A line for each token that a user got and for each wrong password; what happens by itself or without end is told in detail only. */
export function tokenAudit(logger: Logger): (audit: TokenAudit) => void {
  return ({ outcome, ...rest }) => {
    const isUser = rest.subject !== '' && !rest.subject.startsWith(TEMPORARY_PREFIX)
    if (outcome === 'refused') logger.warn(rest, 'registry login refused')
    else if (outcome === 'issued' && isUser) logger.info(rest, 'registry token issued')
    else logger.debug({ outcome, ...rest }, 'registry token asked for')
  }
}
