import { AppError } from '../common/index.ts'
import type { Context } from './command.ts'

const MAX_BYTES = 65_536
const [CTRL_C, CTRL_D, BACKSPACE, DELETE] = ['\u0003', '\u0004', '\b', '\u007f']

/**
 * Reads a secret: from a terminal without showing it, else all of stdin without its last line end. Never from the command line, which
 * every user of the machine can read. `what` as in `password of NAME`. Throws `usage`.
 */
export async function readSecret({ stdin, output, signal }: Context, what: string): Promise<string> {
  const terminal = process.stdin.isTTY
  const secret = terminal ? await readHidden(what, output.progress.bind(output), signal) : await readAll(stdin)
  if (secret !== '') return secret
  throw usage(`no ${what} was given`, `write it to stdin: printf %s "$SECRET" | slipway …`)
}

async function readAll(stdin: Context['stdin']): Promise<string> {
  let text = ''
  for await (const chunk of stdin) {
    text += chunk.toString('utf8')
    if (text.length > MAX_BYTES) throw usage(`more than ${MAX_BYTES} bytes on stdin`, 'give the secret alone')
  }
  return text.replace(/\r?\n$/, '')
}

/** Reads a line in raw mode, so that the terminal shows nothing of it. */
function readHidden(what: string, say: (text: string) => void, signal: AbortSignal): Promise<string> {
  const { stdin } = process
  say(`${what}:`)
  stdin.setRawMode(true).setEncoding('utf8').resume()
  return new Promise<string>((resolve, reject) => {
    let text = ''
    const end = (settle: () => void): void => {
      stdin.off('data', onData).setRawMode(false).pause()
      settle()
    }
    const onData = (typed: string): void => {
      for (const character of typed) {
        if (character === CTRL_C) return end(() => reject(usage('interrupted', 'run it again')))
        if (character === '\r' || character === '\n' || character === CTRL_D) return end(() => resolve(text))
        text = character === BACKSPACE || character === DELETE ? text.slice(0, -1) : text + character
      }
    }
    stdin.on('data', onData)
    signal.addEventListener('abort', () => end(() => reject(signal.reason)), { once: true })
  })
}

function usage(message: string, hint: string): AppError {
  return new AppError(message, { code: 'usage', fault: 'user', hint })
}
