import { type Static, Type } from 'typebox'
import { Name } from './names.ts'
import { Settings } from './version.ts'

const settings = Settings.properties

/** FILE.FUNCTION: the file below the source without its extension, the function that it exports. */
export const Handler = Type.String({
  pattern: '^(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-]+\\.[A-Za-z_$][A-Za-z0-9_$]*$',
  maxLength: 255,
  description: 'FILE.FUNCTION, for example index.main_handler',
})

/** `node` (the newest base) or with a version, `node26`. */
export const RuntimeName = Type.String({ pattern: '^[a-z]+([0-9]+(\\.[0-9]+)*)?$', maxLength: 40 })

export const Contract = Type.Union([Type.Literal('scf'), Type.Literal('kubeless')])
export type Contract = Static<typeof Contract>

const Egress = Type.Union([
  Type.Literal('none'),
  Type.Literal('internet'),
  Type.Array(Type.String({ pattern: '^[^\\s:]+:[0-9]{1,5}$' }), { maxItems: 100, description: 'list of host:port' }),
])

const Mount = Type.Object(
  {
    source: Type.String({ maxLength: 4096, description: 'host directory or name of a volume' }),
    target: Type.String({ pattern: '^/', maxLength: 4096 }),
    writable: Type.Optional(Type.Boolean({ default: false })),
  },
  { additionalProperties: false },
)

/**
 * What `function.yaml` may say: everything is optional, and what it does not say the source tells or has a default.
 * The settings of a running function have the names, units and bounds of `Settings`.
 */
export const FunctionYaml = Type.Object(
  {
    name: Type.Optional(Name),
    namespace: Type.Optional(Name),
    type: Type.Optional(settings.type),
    runtime: Type.Optional(RuntimeName),
    handler: Type.Optional(Handler),
    contract: Type.Optional(Contract),
    command: settings.command,
    args: settings.args,
    image: Type.Optional(Type.String({ maxLength: 600, description: 'a reference; a tag is resolved at deploy' })),
    memory: Type.Optional(settings.memory),
    timeout: Type.Optional(settings.timeout),
    initTimeout: Type.Optional(settings.initTimeout),
    concurrency: Type.Optional(settings.concurrency),
    maxInstances: settings.maxInstances,
    provisioned: Type.Optional(settings.provisioned),
    prewarm: Type.Optional(settings.prewarm),
    keepAlive: Type.Optional(settings.keepAlive),
    env: Type.Optional(settings.env),
    secrets: Type.Optional(Type.Record(Type.String(), Type.String(), { description: 'variable or file: secret name' })),
    mounts: Type.Optional(Type.Array(Mount, { maxItems: 32 })),
    egress: Type.Optional(Egress),
    packages: Type.Optional(
      Type.Array(Type.String({ pattern: '^[a-z0-9][a-z0-9+.-]+$' }), { maxItems: 200, description: 'Debian packages' }),
    ),
    auth: settings.auth,
    limits: settings.limits,
    websocket: settings.websocket,
    session: Type.Optional(Type.Boolean({ default: false })),
  },
  { additionalProperties: false, description: 'function.yaml' },
)
export type FunctionYaml = Static<typeof FunctionYaml>
