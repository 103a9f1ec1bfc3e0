import { describe, expect, it } from 'vitest'
import { formatDeb822, parseDeb822, parseOneLine, releaseSources } from '../../../base-images/node/apt-sources.ts'

describe('package sources of a machine', () => {
  it('are read in the one-line form', () => {
    const text = `# comment\ndeb-src http://a.example/debian bookworm main\n
deb [arch=amd64 signed-by=/k.gpg] http://a.example/debian bookworm main contrib # why\n`
    expect(parseOneLine(text)).toEqual([
      {
        uris: ['http://a.example/debian'],
        suites: ['bookworm'],
        components: ['main', 'contrib'],
        fields: { Architectures: 'amd64', 'Signed-By': '/k.gpg' },
      },
    ])
  })

  it('are read in the stanza form, keys within it included, disabled ones left out', () => {
    const text = `Types: deb deb-src
# a comment between
URIs: http://a.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Enabled: no
Types: deb
URIs: http://b.example/
Suites: bookworm
Components: main
`
    const sources = parseDeb822(text)
    expect(sources).toHaveLength(1)
    expect(sources[0]).toMatchObject({ suites: ['bookworm', 'bookworm-updates'], components: ['main'] })
    expect(sources[0]?.fields['Signed-By']).toBe('\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc')
    expect(parseDeb822(formatDeb822(sources))).toEqual(sources)
  })

  it('count only for the release itself, its updates and its security fixes', () => {
    const source = (...suites: string[]) => ({ uris: ['http://a.example'], suites, components: ['main'], fields: {} })
    const all = [source('bookworm', 'bookworm-backports'), source('nodistro'), source('bookworm-security')]
    expect(releaseSources(all, 'bookworm').map(({ suites }) => suites)).toEqual([['bookworm'], ['bookworm-security']])
  })
})
