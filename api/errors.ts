import type { CallNumber } from './numbers.ts'

/** How a command of the CLI ends for an error: the kinds that a script can tell apart (numbers: cli/exit-codes.ts). */
export type ExitKind =
  | 'internal'
  | 'usage'
  | 'refused'
  | 'denied'
  | 'missing'
  | 'conflict'
  | 'unavailable'
  | 'dependency'
  | 'function'

export interface ErrorEntry {
  /** HTTP status of an API answer with this code. */
  status: number
  exit: ExitKind
  title: string
  meaning: string
  /** The documented number of a call that ends for this reason. */
  number?: CallNumber
}

const entry = (status: number, exit: ExitKind, title: string, meaning: string, number?: CallNumber): ErrorEntry =>
  number === undefined ? { status, exit, title, meaning } : { status, exit, title, meaning, number }

/** Every code that an AppError of this project may carry. A test keeps the list and the source equal, in both directions. */
export const ERRORS = {
  // --- anything
  internal: entry(
    500,
    'internal',
    'Internal error',
    'The platform failed in a way it did not foresee; its log says more.',
    500,
  ),
  'command-failed': entry(500, 'internal', 'Command failed', 'A program that the platform runs ended with an error.'),
  'syscall-failed': entry(500, 'internal', 'System call failed', 'The kernel refused what the platform asked of it.'),

  // --- requests
  'request-invalid': entry(
    400,
    'refused',
    'Request not valid',
    'Body, query or path do not fit the route’s schema.',
    400,
  ),
  'request-malformed': entry(
    400,
    'refused',
    'Malformed request',
    'The request breaks HTTP, or can be read in two ways.',
    400,
  ),
  'body-too-large': entry(413, 'refused', 'Body too large', 'The body is over the limit of the route.', 406),
  'body-type': entry(415, 'refused', 'Body of another type', 'The route takes application/json only.'),
  'route-not-found': entry(404, 'missing', 'No such route', 'The API has no such path and method.'),
  'host-not-served': entry(421, 'denied', 'Host not served', 'API and console answer to their own host names only.'),
  'method-not-allowed': entry(405, 'refused', 'Method not allowed', 'The gateway does not take this method.'),
  'upgrade-unsupported': entry(501, 'refused', 'Upgrade not supported', 'The connection cannot be upgraded here.'),
  overloaded: entry(503, 'unavailable', 'Overloaded', 'A bounded queue or budget of the platform is full.', 449),

  // --- access
  unauthorized: entry(401, 'denied', 'Not authorized', 'The request carries no valid token.', 401),
  'access-denied': entry(
    403,
    'denied',
    'Access denied',
    'The token does not give the right that the route asks for.',
    441,
  ),

  // --- definitions
  'settings-invalid': entry(400, 'refused', 'Settings not valid', 'A setting of the function breaks a rule.'),
  'image-required': entry(
    400,
    'refused',
    'Image required',
    'A deploy names an image, unless it keeps the present one.',
  ),
  'namespace-not-found': entry(404, 'missing', 'No such namespace', 'The namespace does not exist.'),
  'namespace-in-use': entry(409, 'conflict', 'Namespace in use', 'A namespace with functions cannot be deleted.'),
  'function-not-found': entry(
    404,
    'missing',
    'No such function',
    'The function does not exist in this namespace.',
    435,
  ),
  'qualifier-not-found': entry(404, 'missing', 'No such version', 'The version or alias does not exist.', 442),
  'function-type': entry(
    400,
    'refused',
    'Function of another type',
    'Event functions take events, web functions take web calls.',
    436,
  ),
  'revision-conflict': entry(
    409,
    'conflict',
    'Changed meanwhile',
    'The function is not at the revision that the request expects.',
  ),
  'invocation-not-found': entry(
    404,
    'missing',
    'No such invocation',
    'No record of this request id is kept (any more).',
  ),
  'instance-not-found': entry(404, 'missing', 'No such instance', 'The function has no instance with this id.'),
  'user-exists': entry(409, 'conflict', 'User exists', 'The registry has a user of this name already.'),
  'user-not-found': entry(404, 'missing', 'No such user', 'The registry has no user of this name.'),

  // --- store
  'store-failed': entry(
    503,
    'internal',
    'Store failed',
    'The definition could not be written durably; nothing was changed.',
  ),
  'store-newer': entry(
    500,
    'internal',
    'Store is newer',
    'The database was written by a newer version of the platform.',
  ),
  'store-closed': entry(503, 'unavailable', 'Store closed', 'The server is stopping.'),

  // --- images and registries
  'digest-invalid': entry(400, 'refused', 'Digest not valid', 'A digest is sha256: and 64 hex digits.'),
  'reference-invalid': entry(
    400,
    'refused',
    'Reference not valid',
    'An image reference is [HOST/]NAME[:TAG][@DIGEST].',
  ),
  'image-not-found': entry(404, 'missing', 'No such image', 'The registry has no such repository, tag or digest.', 444),
  'image-not-allowed': entry(
    403,
    'denied',
    'Image not allowed',
    'The namespace has no right to pull from this repository.',
    444,
  ),
  'image-too-large': entry(400, 'refused', 'Image too large', 'The image is over the size that may be deployed.'),
  'platform-missing': entry(
    400,
    'refused',
    'No image for this platform',
    'The index has no manifest for this machine.',
    444,
  ),
  'registry-denied': entry(403, 'denied', 'Registry denied', 'The registry refused this credential the action.', 444),
  'registry-unauthorized': entry(
    401,
    'denied',
    'Registry login needed',
    'The registry knows no such user or password.',
    444,
  ),
  'registry-error': entry(502, 'dependency', 'Registry failed', 'The registry answered with an error.', 444),

  // --- supervisor and instances
  'already-running': entry(409, 'conflict', 'Already running', 'Another platform holds this data directory.'),
  'port-taken': entry(409, 'conflict', 'Port taken', 'Another process listens on the port.'),
  'path-too-long': entry(400, 'refused', 'Path too long', 'The data directory’s path is too long for unix sockets.'),
  'port-version': entry(
    500,
    'internal',
    'Versions differ',
    'Server and supervisor speak different versions of their port.',
  ),
  'port-message': entry(
    500,
    'internal',
    'Port message not valid',
    'A message between server and supervisor breaks the schema.',
  ),
  'descriptor-lost': entry(503, 'internal', 'Descriptor lost', 'A socket sent by the supervisor did not arrive.'),
  'host-gone': entry(503, 'unavailable', 'Supervisor gone', 'The supervisor is being replaced.', 449),
  'server-gone': entry(503, 'unavailable', 'Server gone', 'The server is being replaced.'),
  'instance-gone': entry(503, 'internal', 'Instance gone', 'The instance does not exist any more.'),
  'instance-exited': entry(503, 'function', 'Instance exited', 'The container ended while it started.', 405),
  'port-binding-failed': entry(
    504,
    'function',
    'Nothing listens',
    'The container did not listen on port 9000 in time.',
    446,
  ),

  // --- the CLI
  usage: entry(400, 'usage', 'Wrong usage', 'The command line cannot be understood.'),
  'server-unreachable': entry(503, 'unavailable', 'No server', 'No platform answers at the address.'),
  'token-missing': entry(401, 'denied', 'No token', 'The CLI found no access token.'),
  'answer-invalid': entry(502, 'dependency', 'Unexpected answer', 'What answers at the address is not this platform.'),
} as const satisfies Record<string, ErrorEntry>

export type ErrorCode = keyof typeof ERRORS

/** The entry of a code. One that is not registered counts as `internal`: the test over the source keeps that from happening. */
export function errorEntry(code: string): ErrorEntry {
  return (ERRORS as Record<string, ErrorEntry>)[code] ?? ERRORS.internal
}
