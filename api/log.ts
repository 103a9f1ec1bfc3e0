import Type, { type Static } from 'typebox'

/** One line of a function's output, or one of the platform's own (START, END, Report). */
export const LogLine = Type.Object({
  time: Type.String({ description: 'ISO 8601, UTC' }),
  stream: Type.Union([Type.Literal('stdout'), Type.Literal('stderr'), Type.Literal('platform')]),
  instance: Type.Union([Type.String(), Type.Null()]),
  requestId: Type.Union([Type.String(), Type.Null()], { description: 'null where it is not certain' }),
  line: Type.String(),
})
export type LogLine = Static<typeof LogLine>
