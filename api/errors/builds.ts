import { entry } from './entry.ts'

/** Sources, builds, base images. */
export const BUILD_ERRORS = {
  'source-not-found': entry(404, 'missing', 'No such source', 'The path is no directory and no file.'),
  'source-not-recognised': entry(400, 'refused', 'Source not recognised', 'No runtime fits what the source contains.'),
  'source-changed': entry(409, 'conflict', 'Source changed', 'A file changed while it was read.'),
  'source-name-invalid': entry(400, 'refused', 'File name not valid', 'A file name is not UTF-8 or too long.'),
  'source-outside': entry(400, 'refused', 'Link out of the source', 'A link leads out of the source.'),
  'source-too-large': entry(413, 'refused', 'Source too large', 'The source is over the bounds of size or entries.'),
  'source-unreadable': entry(400, 'refused', 'Source not readable', 'A file of the source cannot be read.'),
  'source-unsupported': entry(
    400,
    'refused',
    'Source not supported',
    'A device, socket or FIFO cannot be in a source.',
  ),
  'function-file-invalid': entry(
    400,
    'refused',
    'function.yaml not valid',
    'The file is no YAML or says what is not known.',
  ),
  'package-json-invalid': entry(400, 'refused', 'package.json not valid', 'The file is no JSON or breaks its format.'),
  'name-invalid': entry(400, 'refused', 'Name not valid', 'The text cannot name a function.'),
  'handler-not-found': entry(400, 'refused', 'No such handler', 'The source has no file of the handler.', 437),
  'bootstrap-invalid': entry(400, 'refused', 'scf_bootstrap not valid', 'The start file has not the required form.'),
  'build-unsupported': entry(400, 'refused', 'Build not supported', 'This version cannot build what is asked.'),
  'build-needs-root': entry(
    403,
    'denied',
    'Build needs root',
    'Dependencies install inside the base image, as root only.',
  ),
  'build-step-timeout': entry(504, 'refused', 'Build step timed out', 'A step of the build did not end in time.'),
  'build-failed': entry(500, 'internal', 'Build failed', 'The build ended for a reason of the platform.'),
  'dependencies-failed': entry(400, 'refused', 'Dependencies failed', 'The package manager could not install them.'),
  'npm-unavailable': entry(503, 'dependency', 'npm not available', 'npm or its settings cannot be had.'),
  'base-image-failed': entry(500, 'dependency', 'Base image failed', 'The base image could not be made.'),
  'apt-sources-missing': entry(500, 'dependency', 'No package source', 'No Debian package source is configured.'),
} as const
