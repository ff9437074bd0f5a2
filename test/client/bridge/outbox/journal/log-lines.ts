import type { Logger } from '../../../../../shared/values/log.js'

/** Returns a logger that keeps its lines: level, message and fields, of an error its message. */
export function logLines(): Logger & { lines: object[] } {
  const lines: object[] = []
  const add = (level: string) => (fields: object, message: string) => {
    const entries = Object.entries(fields).map(([name, value]) => [
      name,
      value instanceof Error ? value.message : value,
    ])
    lines.push({ level, message, ...Object.fromEntries(entries) })
  }
  return { lines, debug: add('debug'), info: add('info'), warn: add('warn'), error: add('error') }
}
