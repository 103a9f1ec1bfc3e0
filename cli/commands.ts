import type { Command } from './command.ts'

/** One line of the command table. The module is loaded when the command is used: most need little. */
export interface CommandEntry {
  /** `['instances', 'list']` */
  words: readonly string[]
  summary: string
  /** Not in the list of commands. */
  hidden?: true
  load(): Promise<Command>
}

/** Commands differ in the types of their options, which only their own `run` sees: hence `object`. */
function entry(words: string, summary: string, load: () => Promise<object>): CommandEntry {
  return { words: words.split(' '), summary, load: load as () => Promise<Command> }
}

export const COMMANDS: readonly CommandEntry[] = [
  entry('up', 'start the platform and stay', async () => (await import('./commands/up.ts')).up),
  entry('down', 'stop the platform and everything it runs', async () => (await import('./commands/down.ts')).down),
  entry('status', 'processes, engine and instances', async () => (await import('./commands/status.ts')).status),
  entry(
    'doctor',
    'what is missing, what will not work, and how to mend it',
    async () => (await import('./commands/doctor.ts')).doctor,
  ),
  {
    ...entry('main-job', 'what npm start shows', async () => (await import('./commands/main-job.ts')).mainJob),
    hidden: true,
  },
  { ...entry('start', 'what npm start does', async () => (await import('./commands/start.ts')).start), hidden: true },
  entry(
    'build',
    'make an image of a source directory or file, and push it',
    async () => (await import('./commands/build.ts')).build,
  ),
  entry('push', 'push an OCI image layout or archive', async () => (await import('./commands/push.ts')).push),
  entry(
    'deploy',
    'build and deploy a source, or deploy an image',
    async () => (await import('./commands/deploy.ts')).deploy,
  ),
  entry('invoke', 'call an event function', async () => (await import('./commands/invoke.ts')).invoke),
  entry('cancel', 'end a job that waits or runs', async () => (await import('./commands/cancel.ts')).cancel),
  entry('logs', 'what a function printed', async () => (await import('./commands/logs.ts')).logs),
  entry(
    'why',
    'what a call waited for, and how its image was fetched',
    async () => (await import('./commands/why.ts')).why,
  ),
  entry('list', 'functions of a namespace', async () => (await import('./commands/functions.ts')).list),
  entry('get', 'one function', async () => (await import('./commands/functions.ts')).get),
  entry(
    'delete',
    'delete a function and end its instances',
    async () => (await import('./commands/functions.ts')).remove,
  ),
  entry(
    'instances list',
    'instances of a function and why each exists',
    async () => (await import('./commands/instances.ts')).list,
  ),
  entry(
    'instances stop',
    'end one instance of a function, or all',
    async () => (await import('./commands/instances.ts')).stop,
  ),
  entry('namespace list', 'all namespaces', async () => (await import('./commands/namespaces.ts')).list),
  entry(
    'namespace create',
    'make a namespace, or change what it allows',
    async () => (await import('./commands/namespaces.ts')).create,
  ),
  entry('namespace delete', 'delete an empty namespace', async () => (await import('./commands/namespaces.ts')).remove),
  entry(
    'registry credentials list',
    'credentials that downloads were made with',
    async () => (await import('./commands/registry-credentials.ts')).list,
  ),
  entry(
    'registry credentials end',
    'end a credential in force, and its download',
    async () => (await import('./commands/registry-credentials.ts')).end,
  ),
  entry(
    'registry add',
    'say where credentials for another registry come from, and what it may do',
    async () => (await import('./commands/registry-entries.ts')).add,
  ),
  entry(
    'registry hosts',
    'what is known of other registries',
    async () => (await import('./commands/registry-entries.ts')).hosts,
  ),
  entry(
    'registry remove',
    'forget a registry with its login',
    async () => (await import('./commands/registry-entries.ts')).remove,
  ),
  entry(
    'registry login',
    'try a user name and password at another registry and keep them',
    async () => (await import('./commands/registry-access.ts')).login,
  ),
  entry(
    'registry logout',
    'forget the login for a registry',
    async () => (await import('./commands/registry-access.ts')).logout,
  ),
  entry(
    'registry test',
    'access an image step by step and say what is missing',
    async () => (await import('./commands/registry-access.ts')).test,
  ),
  entry(
    'registry user add',
    'add a user of the local registry',
    async () => (await import('./commands/registry-users.ts')).add,
  ),
  entry(
    'registry user list',
    'users of the local registry',
    async () => (await import('./commands/registry-users.ts')).list,
  ),
  entry(
    'registry user rights',
    'replace the rights of a user',
    async () => (await import('./commands/registry-users.ts')).rights,
  ),
  entry(
    'registry list',
    'images of the local registry and what uses them',
    async () => (await import('./commands/registry-images.ts')).list,
  ),
  entry(
    'registry gc',
    'remove what nobody needs from the local registry',
    async () => (await import('./commands/registry-images.ts')).collect,
  ),
  entry(
    'registry rotate-keys',
    'sign tokens of the local registry with a new key',
    async () => (await import('./commands/registry-users.ts')).rotateKeys,
  ),
  entry('registry user revoke', 'remove a user', async () => (await import('./commands/registry-users.ts')).revoke),
]

/** The command that the words begin with, and the arguments behind it. */
export function findCommand(args: readonly string[]): { entry: CommandEntry; rest: string[] } | undefined {
  const entry = COMMANDS.find(({ words }) => words.every((word, at) => args[at] === word))
  return entry === undefined ? undefined : { entry, rest: args.slice(entry.words.length) }
}
