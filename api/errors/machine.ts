import { entry } from './entry.ts'

/** The machine that the platform is to run on, and starting and stopping it. */
export const MACHINE_ERRORS = {
  'command-failed': entry(500, 'internal', 'Command failed', 'A program that the platform runs ended with an error.'),
  'syscall-failed': entry(500, 'internal', 'System call failed', 'The kernel refused what the platform asked of it.'),
  'program-missing': entry(503, 'unavailable', 'Program missing', 'A program that is needed is not installed.'),
  'packages-missing': entry(
    503,
    'unavailable',
    'Packages missing',
    'Debian packages are missing and could not be installed.',
  ),
  'machine-unfit': entry(
    503,
    'unavailable',
    'Machine not fit',
    'The machine lacks something; the message names all of it.',
  ),
  'cgroups-missing': entry(
    503,
    'unavailable',
    'No control groups',
    'No control groups with a memory controller are mounted.',
  ),
  'loop-device-missing': entry(503, 'unavailable', 'No loop device', 'Every loop device is taken.', 449),
  'architecture-unsupported': entry(
    503,
    'unavailable',
    'Architecture not supported',
    'There is no system call filter for it.',
  ),
  'data-directory': entry(503, 'unavailable', 'Data directory unusable', 'It cannot be made, read or written.'),
  'path-too-long': entry(400, 'refused', 'Path too long', 'The data directory’s path is too long for unix sockets.'),
  'already-running': entry(409, 'conflict', 'Already running', 'Another platform holds this data directory.'),
  'still-running': entry(409, 'conflict', 'Still running', 'The platform did not end when asked to.'),
  'port-taken': entry(409, 'conflict', 'Port taken', 'Another process listens on the port.'),
  'server-unusable': entry(500, 'internal', 'Server does not start', 'It ended again and again before it answered.'),
  'main-job-failed': entry(500, 'internal', 'Main job failed', 'The first run on a sample did not succeed.'),
} as const
