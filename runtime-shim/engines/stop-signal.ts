import { constants } from 'node:os'

/** The number of a stop signal as images name it: `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`. SIGTERM for none or an unknown one. */
export function stopSignal(text: string | undefined): number {
  const { SIGTERM } = constants.signals
  if (text === undefined || text === '') return SIGTERM
  if (/^\d{1,2}$/.test(text)) return Number(text) >= 1 && Number(text) <= 64 ? Number(text) : SIGTERM
  const realTime = /^(?:SIG)?RTMIN(?:\+(\d{1,2}))?$/i.exec(text)
  if (realTime !== null) return 34 + Math.min(30, Number(realTime[1] ?? 0))
  const name = text.toUpperCase().replace(/^(?!SIG)/, 'SIG')
  return new Map<string, number>(Object.entries(constants.signals)).get(name) ?? SIGTERM
}
