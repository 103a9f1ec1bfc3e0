import { AppError } from '../common/index.ts'

/** Who the first process of an instance runs as. */
export interface RunUser {
  uid: number
  gid: number
  additionalGids: number[]
  home: string
}

/** For images that name no user: nobody's and everybody's number, never root. */
export const DEFAULT_USER = '1000:1000'

const MAX_ID = 2 ** 31 - 1

/**
 * Resolves the USER of an image (`name`, `uid`, `name:group`, `uid:gid`) by the image's own passwd and group texts (passwd(5), group(5)).
 * A number that passwd does not know is taken as it is, with group 0, as container engines do. With a group named, it is the only one.
 * Throws `instance-create-failed` for names that are not there.
 */
export function resolveUser(user: string, passwd: string, group: string): RunUser {
  const wanted = user === '' ? DEFAULT_USER : user
  const colon = wanted.indexOf(':')
  const userPart = colon === -1 ? wanted : wanted.slice(0, colon)
  const groupPart = colon === -1 ? undefined : wanted.slice(colon + 1)
  const entry = users(passwd).find((candidate) => matches(candidate, userPart))
  const uid = entry?.uid ?? number(userPart)
  if (uid === undefined) throw unknown('user', userPart, 'passwd')
  const home = entry?.home === undefined || !entry.home.startsWith('/') ? '/' : entry.home
  if (groupPart !== undefined && groupPart !== '') {
    const gid = groups(group).find((candidate) => matches(candidate, groupPart))?.gid ?? number(groupPart)
    if (gid === undefined) throw unknown('group', groupPart, 'group')
    return { uid, gid, additionalGids: [], home }
  }
  const gid = entry?.gid ?? 0
  const additionalGids = groups(group)
    .filter((candidate) => entry !== undefined && candidate.members.includes(entry.name) && candidate.gid !== gid)
    .map((candidate) => candidate.gid)
  return { uid, gid, additionalGids: [...new Set(additionalGids)], home }
}

interface Named {
  name: string
  id: number
}

function matches(candidate: Named, wanted: string): boolean {
  return candidate.name === wanted || String(candidate.id) === wanted
}

function users(passwd: string): (Named & { uid: number; gid: number; home: string })[] {
  return records(passwd).flatMap(([name = '', , uidText = '', gidText = '', , home = '']) => {
    const uid = number(uidText)
    const gid = number(gidText)
    return name === '' || uid === undefined || gid === undefined ? [] : [{ name, id: uid, uid, gid, home }]
  })
}

function groups(text: string): (Named & { gid: number; members: string[] })[] {
  return records(text).flatMap(([name = '', , gidText = '', members = '']) => {
    const gid = number(gidText)
    return name === '' || gid === undefined ? [] : [{ name, id: gid, gid, members: members.split(',') }]
  })
}

function records(text: string): string[][] {
  return text.split('\n').map((line) => line.split(':'))
}

function number(text: string): number | undefined {
  return /^[0-9]{1,10}$/.test(text) && Number(text) <= MAX_ID ? Number(text) : undefined
}

function unknown(kind: string, name: string, file: string): AppError {
  return new AppError(`unable to find ${kind} ${name.slice(0, 100)}: the image's /etc/${file} has no such entry`, {
    code: 'instance-create-failed',
    fault: 'user',
    hint: `name a ${kind} that the image has, or a number`,
  })
}
