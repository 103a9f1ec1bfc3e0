import { entry } from './entry.ts'

/** Requests to API and gateway, access, definitions, the store, the command line. */
export const REQUEST_ERRORS = {
  internal: entry(500, 'internal', 'Internal error', 'Not foreseen; the log says more.', 500),
  'request-invalid': entry(400, 'refused', 'Request not valid', 'Body, query or path do not fit the route.', 400),
  'request-malformed': entry(400, 'refused', 'Malformed request', 'Breaks HTTP, or can be read in two ways.', 400),
  'body-too-large': entry(413, 'refused', 'Body too large', 'The body is over the limit of the route.', 406),
  'body-type': entry(415, 'refused', 'Body of another type', 'The route takes application/json only.'),
  'route-not-found': entry(404, 'missing', 'No such route', 'The API has no such path and method.'),
  'method-not-allowed': entry(405, 'refused', 'Method not allowed', 'The gateway does not take this method.'),
  'host-not-served': entry(421, 'denied', 'Host not served', 'API and console answer to their own names only.'),
  'upgrade-unsupported': entry(501, 'refused', 'Upgrade not supported', 'The connection cannot be upgraded here.'),
  overloaded: entry(503, 'unavailable', 'Overloaded', 'A bounded queue or budget is full.', 449),

  unauthorized: entry(401, 'denied', 'Not authorized', 'The request carries no valid token.', 401),
  'access-denied': entry(403, 'denied', 'Access denied', 'The token does not give the right that is needed.', 441),

  'settings-invalid': entry(400, 'refused', 'Settings not valid', 'A setting of the function breaks a rule.'),
  'image-required': entry(
    400,
    'refused',
    'Image required',
    'A deploy names an image, unless it keeps the present one.',
  ),
  'namespace-not-found': entry(404, 'missing', 'No such namespace', 'The namespace does not exist.'),
  'namespace-in-use': entry(409, 'conflict', 'Namespace in use', 'It has functions and cannot be deleted.'),
  'function-not-found': entry(404, 'missing', 'No such function', 'It does not exist in this namespace.', 435),
  'qualifier-not-found': entry(404, 'missing', 'No such version', 'The version or alias does not exist.', 442),
  'function-type': entry(
    400,
    'refused',
    'Function of another type',
    'Event and web functions take their own calls.',
    436,
  ),
  'revision-conflict': entry(409, 'conflict', 'Changed meanwhile', 'Not at the revision that the request expects.'),
  'invocation-not-found': entry(
    404,
    'missing',
    'No such invocation',
    'No record of this request id is kept (any more).',
  ),
  'invocation-over': entry(409, 'conflict', 'Invocation over', 'The call has ended already.'),
  'instance-not-found': entry(404, 'missing', 'No such instance', 'The function has no instance with this id.'),
  'user-exists': entry(409, 'conflict', 'User exists', 'The registry has a user of this name already.'),
  'user-not-found': entry(404, 'missing', 'No such user', 'The registry has no user of this name.'),
  'user-name-invalid': entry(400, 'refused', 'User name not valid', 'The text cannot name a registry user.'),
  'grant-invalid': entry(400, 'refused', 'Right not valid', 'A right is ACTIONS:REPOSITORY.'),
  'credentials-exhausted': entry(
    503,
    'unavailable',
    'Too many credentials',
    'Too many temporary credentials are in force.',
    449,
  ),

  'store-failed': entry(503, 'internal', 'Store failed', 'The definition could not be written; nothing was changed.'),
  'store-newer': entry(500, 'internal', 'Store is newer', 'A newer version of the platform wrote the database.'),
  'store-closed': entry(503, 'unavailable', 'Store closed', 'The server is stopping.'),

  usage: entry(400, 'usage', 'Wrong usage', 'The command line cannot be understood.'),
  'server-unreachable': entry(503, 'unavailable', 'No server', 'No platform answers at the address.'),
  'token-missing': entry(401, 'denied', 'No token', 'The command found no access token.'),
  'answer-invalid': entry(502, 'dependency', 'Unexpected answer', 'What answers at the address is not this platform.'),
} as const
