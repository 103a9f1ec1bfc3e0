import Type, { type Static } from 'typebox'
import { Name } from './names.ts'
import { Provisioned } from './platform.ts'
import { SettingsPatch } from './settings.ts'
import { Version } from './version.ts'

/** What is asked of a deploy: which image, and settings. */
export const DeployRequest = Type.Object(
  {
    image: Type.Optional(
      Type.String({
        maxLength: 600,
        description:
          '[HOST/]NAME[:TAG][@DIGEST]; the tag is resolved now; without both, latest. Required unless `keep`',
      }),
    ),
    settings: Type.Optional(SettingsPatch),
    keep: Type.Optional(
      Type.Boolean({ description: 'what is not named stays as it is; otherwise it becomes its default' }),
    ),
    ifRevision: Type.Optional(
      Type.Integer({ minimum: 0, description: 'refuse unless this is the present revision; 0: unless there is none' }),
    ),
  },
  { additionalProperties: false },
)
export type DeployRequest = Static<typeof DeployRequest>

/** A function as the API shows it: its version, and where it is called. */
export const FunctionView = Type.Object({
  ...Version.properties,
  name: Name,
  /** `HOST/NAME:TAG@DIGEST`, ready for `docker pull`. */
  imageReference: Type.String(),
  url: Type.String({ description: 'where it is called: an origin of its own for web functions, the API for others' }),
  provisioned: Type.Optional(Provisioned),
  pathUrl: Type.Optional(Type.String({ description: 'web functions: the same below the platform’s own host' })),
})
export type FunctionView = Static<typeof FunctionView>

export const FunctionList = Type.Object({ functions: Type.Array(FunctionView) })
