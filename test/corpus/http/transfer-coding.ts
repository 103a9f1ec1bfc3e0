import { chunked, type HttpCase, head, post, refused, seenPost, served, visible } from './case.ts'

const RULE = 'RFC 9112 6.1'

const malformed = [
  '',
  'identity',
  'identity, chunked',
  'chunked, identity',
  'chunked, chunked',
  'chunked,',
  ',chunked',
  'chunked, ,',
  'chunked;',
  'chunked;q=1',
  'chunked; q=0',
  '"chunked"',
  "'chunked'",
  'chunked chunked',
  'chunked\x00',
  '\x00chunked',
  '\x0bchunked',
  'chunked\x0b',
  '\x0cchunked',
  'chunked\x0c',
  '\xa0chunked',
  'chunkedx',
  'xchunked',
  'x-chunked',
  'chunk',
  'chunke d',
  'chun\tked',
  'chunked/1',
  'chunked, gzip',
  'gzip',
  'deflate',
  'compress',
  'br',
  'none',
  '0',
  'false',
  'cow',
  'chunked, cow',
  '\xc5\xbfchunked',
  'chunKed\xe2\x84\xaa',
  'trailers',
  'chunked=1',
  '(chunked)',
  'chunked #',
  '[chunked]',
  '{chunked}',
  'chunked:',
  ':chunked',
]
const foreign = [
  'gzip, chunked',
  'gzip,chunked',
  'deflate, chunked',
  'cow, chunked',
  'gzip;q=1, chunked',
  'gzip, deflate, chunked',
]

const doubled: [string, string[], number[]][] = [
  ['chunked in two fields', ['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'], [400]],
  ['chunked and identity in two fields', ['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'], [400]],
  ['identity and chunked in two fields', ['Transfer-Encoding: identity', 'Transfer-Encoding: chunked'], [400, 501]],
  ['gzip and chunked in two fields', ['Transfer-Encoding: gzip', 'Transfer-Encoding: chunked'], [400, 501]],
  ['chunked and an empty one', ['Transfer-Encoding: chunked', 'Transfer-Encoding:'], [400]],
  ['an empty one and chunked', ['Transfer-Encoding:', 'Transfer-Encoding: chunked'], [400]],
  ['chunked and cow in two fields', ['Transfer-Encoding: chunked', 'Transfer-encoding: cow'], [400]],
]

export const transferCoding: HttpCase[] = [
  ...malformed.map((value) =>
    refused(
      RULE,
      `Transfer-Encoding ${visible(value)}`,
      post([`Transfer-Encoding: ${value}`], '5\r\nhello\r\n0\r\n\r\n'),
      [400, 501],
    ),
  ),
  ...foreign.map((value) =>
    refused(
      RULE,
      `Transfer-Encoding ${value}`,
      post([`Transfer-Encoding: ${value}`], '5\r\nhello\r\n0\r\n\r\n'),
      [400, 501],
    ),
  ),
  ...doubled.map(([name, lines, status]) => refused(RULE, name, post(lines, '5\r\nhello\r\n0\r\n\r\n'), status)),
  refused(RULE, 'chunked over HTTP/1.0', `${head('POST /{id} HTTP/1.0', 'Transfer-Encoding: chunked')}0\r\n\r\n`),
  refused(
    RULE,
    'chunked and length over HTTP/1.0',
    `${head('POST /{id} HTTP/1.0', 'Transfer-Encoding: chunked', 'Content-Length: 5')}0\r\n\r\n`,
  ),
  // Allowed by the grammar and sent by nobody: Node's parser refuses it, and a refusal is never read in two ways.
  refused(RULE, 'a tab behind chunked', post(['Transfer-Encoding: chunked\t'], '0\r\n\r\n')),
  served(
    RULE,
    'chunked in capitals',
    post(['TRANSFER-ENCODING: CHUNKED'], '5\r\nhello\r\n0\r\n\r\n'),
    seenPost('hello'),
  ),
  served(
    RULE,
    'chunked with blanks around it',
    post(['Transfer-Encoding: \t chunked '], '5\r\nhello\r\n0\r\n\r\n'),
    seenPost('hello'),
  ),
  served(
    RULE,
    'chunked without a blank before it',
    post(['Transfer-Encoding:chunked'], '5\r\nhello\r\n0\r\n\r\n'),
    seenPost('hello'),
  ),
  served(
    'RFC 9110 10.1.4',
    'TE stays on its connection',
    chunked('0\r\n\r\n', 'TE: trailers, gzip;q=0.5', 'Connection: TE'),
    seenPost('', { without: ['te'] }),
  ),
]
