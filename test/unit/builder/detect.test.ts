import { describe, expect, it } from 'vitest'
import type { FunctionYaml } from '../../../api/index.ts'
import { detect, type SourceFacts } from '../../../builder/detect.ts'

function facts(files: string[], texts: Partial<SourceFacts> = {}): SourceFacts {
  return { files: new Set(files), packageJson: undefined, bootstrap: undefined, ...texts }
}

const BOOTSTRAP = '#!/bin/bash\nexec node server.js\n'

describe('what a source is', () => {
  const cases: [title: string, facts: SourceFacts, settings: FunctionYaml, expected: object][] = [
    [
      'index.js is an event function with the default handler',
      facts(['index.js']),
      {},
      { runtime: 'node26', type: 'event', start: { kind: 'handler', handler: 'index.main_handler', contract: 'scf' } },
    ],
    [
      'a TypeScript file serves as handler',
      facts(['index.ts']),
      {},
      { start: { kind: 'handler', handler: 'index.main_handler', contract: 'scf' } },
    ],
    [
      'a single file with another name is its own handler file',
      facts(['resize.mjs']),
      {},
      { start: { kind: 'handler', handler: 'resize.main_handler', contract: 'scf' } },
    ],
    [
      'a handler may lie in a folder',
      facts(['src/app.mjs', 'package.json'], { packageJson: '{}' }),
      { handler: 'src/app.run' },
      { type: 'event', start: { kind: 'handler', handler: 'src/app.run', contract: 'scf' } },
    ],
    [
      'scf_bootstrap makes a web function, also beside an index.js',
      facts(['index.js', 'scf_bootstrap'], { bootstrap: BOOTSTRAP }),
      {},
      {
        type: 'web',
        start: { kind: 'command', command: ['/var/user/scf_bootstrap'], args: [], from: 'scf_bootstrap' },
      },
    ],
    [
      'a named type event wins over scf_bootstrap',
      facts(['index.js', 'scf_bootstrap'], { bootstrap: BOOTSTRAP }),
      { type: 'event' },
      { type: 'event', start: { kind: 'handler', handler: 'index.main_handler', contract: 'scf' } },
    ],
    [
      'command of function.yaml wins over all',
      facts(['index.js', 'scf_bootstrap'], { bootstrap: BOOTSTRAP }),
      { command: ['node', 'x.js'], args: ['--a'] },
      { type: 'web', start: { kind: 'command', command: ['node', 'x.js'], args: ['--a'], from: 'function.yaml' } },
    ],
    [
      'a plain start script of a web function is run without a shell',
      facts(['index.js', 'package.json'], { packageJson: '{"scripts":{"start":"node ./index.js"}}' }),
      { type: 'web' },
      { type: 'web', start: { kind: 'command', command: ['node', './index.js'], args: [], from: 'package.json' } },
    ],
    [
      'a start script with shell syntax gets a shell',
      facts(['server.js', 'package.json'], { packageJson: '{"scripts":{"start":"PORT=9000 node server.js"}}' }),
      {},
      { start: { kind: 'command', command: ['/bin/bash', '-c', 'PORT=9000 node server.js'] } },
    ],
    [
      'a shrinkwrap wins over a lock file, as in npm',
      facts(['index.js', 'package.json', 'package-lock.json', 'npm-shrinkwrap.json'], { packageJson: '{}' }),
      {},
      { lockFile: 'npm-shrinkwrap.json' },
    ],
    ['node means the newest base', facts(['index.js']), { runtime: 'node' }, { runtime: 'node26' }],
  ]
  it.each(cases)('%s', (_title, given, settings, expected) => {
    expect(detect(given, settings)).toMatchObject(expected)
  })
})

describe('what a source is refused for', () => {
  const cases: [title: string, facts: SourceFacts, settings: FunctionYaml, code: string, message: RegExp][] = [
    ['nothing that is known', facts(['README.md']), {}, 'source-not-recognised', /no package.json and no .js/],
    [
      'a handler file that is not there',
      facts(['app.js']),
      { handler: 'main.run' },
      'handler-not-found',
      /no main\.js/,
    ],
    ['no start at all', facts(['a.js', 'b.js']), {}, 'handler-not-found', /no scf_bootstrap and no start script/],
    ['a web function without a server', facts(['index.js']), { type: 'web' }, 'handler-not-found', /needs `command`/],
    [
      'another language',
      facts(['index.js']),
      { runtime: 'python3.11' },
      'build-unsupported',
      /python3\.11 is not known/,
    ],
    ['a job without a program', facts(['index.js']), { type: 'job' }, 'handler-not-found', /a job needs `command`/],
    ['kubeless', facts(['index.js']), { contract: 'kubeless' }, 'build-unsupported', /kubeless/],
    [
      'a bootstrap without interpreter',
      facts(['scf_bootstrap'], { bootstrap: 'node x' }),
      {},
      'bootstrap-invalid',
      /has no interpreter/,
    ],
    [
      'a bootstrap with CRLF',
      facts(['scf_bootstrap'], { bootstrap: '#!/bin/bash\r\nnode x\r\n' }),
      {},
      'bootstrap-invalid',
      /CRLF/,
    ],
    [
      'a bootstrap for another interpreter, with its line',
      facts(['scf_bootstrap'], {
        bootstrap: '#!/bin/bash\n# /var/lang/node10/ once\n/var/lang/node12/bin/node app.js\n',
      }),
      {},
      'bootstrap-invalid',
      /line 3 names \/var\/lang\/node12\/, and the runtime is node26/,
    ],
    [
      'a package.json that is none',
      facts(['index.js', 'package.json'], { packageJson: '{"a":' }),
      {},
      'package-json-invalid',
      /package\.json is not valid/,
    ],
  ]
  it.each(cases)('%s', (_title, given, settings, code, message) => {
    expect(() => detect(given, settings)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    )
  })
})
