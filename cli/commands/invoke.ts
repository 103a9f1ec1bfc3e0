import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { InvocationResult } from '../../api/index.ts'
import { type Context, defineCommand, functionNamed, NAMESPACE_OPTION, usageError } from '../command.ts'
import { EXIT_CODES } from '../exit-codes.ts'
import { duration, megabytes } from '../output.ts'

const MAX_EVENT_BYTES = 6 * 1024 * 1024

export const invoke = defineCommand({
  usage: 'NAME',
  details: `A job is accepted, and runs later. Otherwise the answer goes to stdout, how long it took to stderr; a function that fails gives exit code ${EXIT_CODES.function.code}.`,
  options: {
    data: { short: 'd', placeholder: 'JSON|@FILE|-', description: 'the event: text, a file, or stdin (default {})' },
    qualifier: { placeholder: 'VERSION', description: 'version or alias (default $LATEST)' },
    tail: { description: 'show the last 4 KB of output too' },
    ...NAMESPACE_OPTION,
  },
  async run(context, values, positionals) {
    const { namespace, name } = functionNamed(context, values.namespace, positionals)
    const event = await readEvent(context, values.data ?? '{}')
    const query = {
      ...(values.qualifier === undefined ? {} : { qualifier: values.qualifier }),
      ...(values.tail === true ? { tail: true } : {}),
    }
    const result = await context.api().invoke({ params: { namespace, name }, query, event })
    if (result.accepted === true) {
      context.output.result(result, `accepted as ${result.requestId}`)
      context.output.next(`see how it ended: slipway why ${result.requestId}`)
      return EXIT_CODES.ok.code
    }
    context.output.result(result, textOf(result.result))
    if (context.output.format === 'text') explain(context, result)
    if (result.statusCode !== 200) return EXIT_CODES.function.code
    context.output.next(`slipway logs ${name} --request-id ${result.requestId}`)
    return EXIT_CODES.ok.code
  },
})

async function readEvent(context: Context, data: string): Promise<Buffer> {
  if (data === '-') return readStdin(context)
  const bytes = data.startsWith('@') ? await readFile(resolve(context.cwd, data.slice(1))) : Buffer.from(data)
  return checkedSize(bytes)
}

async function readStdin(context: Context): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of context.stdin) {
    chunks.push(Buffer.from(chunk))
    checkedSize(chunks)
  }
  return Buffer.concat(chunks)
}

function checkedSize<T extends Buffer | readonly Buffer[]>(bytes: T): T {
  const length = Array.isArray(bytes)
    ? bytes.reduce((sum: number, chunk: Buffer) => sum + chunk.length, 0)
    : bytes.length
  if (length > MAX_EVENT_BYTES) throw usageError('the event is larger than 6 MB')
  return bytes
}

function textOf(result: unknown): string {
  return typeof result === 'string' ? result : JSON.stringify(result, null, 2)
}

function explain(context: Context, result: InvocationResult): void {
  const { statusCode, durationMs, memoryBytes, coldStart, logTail, requestId } = result
  if (logTail !== undefined) context.output.progress(logTail.trimEnd())
  const phases = Object.entries(coldStart?.phases ?? {}).map(([name, ms]) => `${name} ${duration(ms)}`)
  const start = coldStart === null ? 'warm' : `cold start ${duration(coldStart.totalMs)} (${phases.join(', ')})`
  context.output.progress(
    `${statusCode}, ${duration(durationMs)}, ${megabytes(memoryBytes)}, ${start}, request ${requestId}`,
  )
}
