import { entry } from './entry.ts'

/** Supervisor, engines, instances, their output, and calls that end in them. */
export const INSTANCE_ERRORS = {
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
  'descriptor-lost': entry(503, 'internal', 'Descriptor lost', 'A socket sent by the supervisor did not arrive.', 500),
  'host-gone': entry(503, 'unavailable', 'Supervisor gone', 'The supervisor is being replaced.', 449),
  'server-gone': entry(503, 'unavailable', 'Server gone', 'The server is being replaced.'),

  'instance-create-failed': entry(
    503,
    'function',
    'Instance not created',
    'Command, user or directory do not fit the image.',
    445,
  ),
  'instance-start-failed': entry(503, 'function', 'Instance not started', 'The container could not be started.', 445),
  'instance-exited': entry(503, 'function', 'Instance exited', 'The container ended while it started.', 405),
  'instance-exists': entry(500, 'internal', 'Instance exists', 'The id is in use.'),
  'instance-gone': entry(503, 'internal', 'Instance gone', 'The instance does not exist any more.', 500),
  'port-binding-failed': entry(
    504,
    'function',
    'Nothing listens',
    'The container did not listen on port 9000 in time.',
    446,
  ),
  'init-timeout': entry(504, 'function', 'Start timed out', 'The container did not start within initTimeout.', 450),
  'dial-failed': entry(503, 'function', 'No connection', 'The instance took no connection.', 439),
  'deadline-reached': entry(504, 'function', 'Timeout', 'The execution timeout is over.', 433),
  'answer-too-large': entry(502, 'function', 'Answer too large', 'The function answered more than 6 MB.', 407),
  'queue-full': entry(429, 'unavailable', 'Queue full', 'Too many calls wait for an instance, or too long.', 432),
  'too-many-calls': entry(
    429,
    'unavailable',
    'Too many calls',
    'The server has as many calls as it can keep leases of.',
    432,
  ),
  'version-gone': entry(409, 'conflict', 'Version gone', 'The function was changed or deleted meanwhile.', 438),

  'engine-failed': entry(502, 'dependency', 'Engine failed', 'The engine answered with an error.', 500),
  'engine-unreachable': entry(503, 'dependency', 'Engine unreachable', 'The engine does not answer.', 449),
  'engine-closed': entry(503, 'unavailable', 'Engine closed', 'The supervisor is stopping.', 449),
  'freeze-failed': entry(500, 'internal', 'Freeze failed', 'The instance could not be frozen or thawed.'),
  'processes-remain': entry(500, 'internal', 'Processes remain', 'Processes of an instance do not end.'),
  'output-incomplete': entry(
    503,
    'internal',
    'Output incomplete',
    'Output of an instance could not be copied in time.',
  ),
  'output-rotation-failed': entry(500, 'internal', 'Output not rotated', 'The output file could not be opened anew.'),
  'log-damaged': entry(500, 'internal', 'Log damaged', 'A stored batch of lines cannot be read.'),
  'log-write-failed': entry(500, 'internal', 'Log not written', 'Lines could not be stored.'),
  'invalid-name': entry(400, 'refused', 'Name not valid', 'The text names no namespace or function.'),
} as const
