/** Periods of reports: whole days in UTC, as the reports count. */

const dayMs = 86_400_000

/** The choices; `days` is the length, today included. */
export const periods = [
  { value: '24h', label: 'Today', days: 1 },
  { value: '7d', label: '7 days', days: 7 },
  { value: '30d', label: '30 days', days: 30 },
  { value: '90d', label: '90 days', days: 90 },
] as const

/** From the beginning of the first day to the end of the last. */
export interface Span {
  from: Date
  to: Date
}

/** Returns the span of the address bar: `from` and `to` as days, or a period that ends today. */
export function spanOf({ period, from, to }: { period?: string; from?: string; to?: string }, now = Date.now()): Span {
  const midnight = Math.floor(now / dayMs) * dayMs
  const first = dayOf(from)
  const last = dayOf(to)
  if (first !== undefined || last !== undefined) {
    const end = (last ?? midnight) + dayMs
    return { from: new Date(Math.min(first ?? end - 30 * dayMs, end - dayMs)), to: new Date(end) }
  }
  const days = periods.find(({ value }) => value === period)?.days ?? 30
  return { from: new Date(midnight - (days - 1) * dayMs), to: new Date(midnight + dayMs) }
}

function dayOf(text: string | undefined): number | undefined {
  const ms = text && /^\d{4}-\d\d-\d\d$/.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(ms) ? undefined : ms
}

/** Returns the days of a span: `2026-05-01`. */
export function daysOf({ from, to }: Span): string[] {
  const days: string[] = []
  for (let ms = from.getTime(); ms < to.getTime(); ms += dayMs) days.push(new Date(ms).toISOString().slice(0, 10))
  return days
}
