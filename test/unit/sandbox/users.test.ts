import { describe, expect, it } from 'vitest'
import { resolveUser } from '../../../sandbox/users.ts'

const passwd = `root:x:0:0:root:/root:/bin/sh
app:x:500:501:App:/srv/app:/bin/sh
1234:x:77:78::/numeric:/bin/sh
broken line
noid:x:abc:1:::
odd:x:600:600::relative:/bin/sh
`
const group = `root:x:0:
app:x:501:
extra:x:502:other,app
more:x:503:app
more-again:x:503:app
`

describe('the user of an image', () => {
  it.each([
    ['', { uid: 1000, gid: 1000, additionalGids: [], home: '/' }],
    ['root', { uid: 0, gid: 0, additionalGids: [], home: '/root' }],
    ['app', { uid: 500, gid: 501, additionalGids: [502, 503], home: '/srv/app' }],
    ['500', { uid: 500, gid: 501, additionalGids: [502, 503], home: '/srv/app' }],
    ['app:extra', { uid: 500, gid: 502, additionalGids: [], home: '/srv/app' }],
    ['app:9', { uid: 500, gid: 9, additionalGids: [], home: '/srv/app' }],
    ['4711', { uid: 4711, gid: 0, additionalGids: [], home: '/' }],
    ['4711:4712', { uid: 4711, gid: 4712, additionalGids: [], home: '/' }],
    ['1234', { uid: 77, gid: 78, additionalGids: [], home: '/numeric' }],
    ['odd', { uid: 600, gid: 600, additionalGids: [], home: '/' }],
  ])('"%s" is %j', (user, expected) => {
    expect(resolveUser(user, passwd, group)).toEqual(expected)
  })

  it.each([
    ['nobody', "unable to find user nobody: the image's /etc/passwd has no such entry"],
    ['noid', "unable to find user noid: the image's /etc/passwd has no such entry"],
    ['-1', "unable to find user -1: the image's /etc/passwd has no such entry"],
    ['99999999999', "unable to find user 99999999999: the image's /etc/passwd has no such entry"],
    ['app:nogroup', "unable to find group nogroup: the image's /etc/group has no such entry"],
  ])('"%s" is refused by name', (user, message) => {
    expect(() => resolveUser(user, passwd, group)).toThrow(message)
  })
})
