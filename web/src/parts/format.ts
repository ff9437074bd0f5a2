/** Numbers, times and sizes as texts. */

const whole = new Intl.NumberFormat('en-US')
const short = new Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 1 })

/** Returns a count with separators: `12,345`. */
export function formatCount(value: number): string {
  return whole.format(value)
}

/** Returns a large count in short, such as `1.2M`; a count below 10,000 is whole. */
export function formatShort(value: number): string {
  return Math.abs(value) < 10_000 ? whole.format(value) : short.format(value)
}

/** Returns nano-dollars as dollars: cents from a dollar on, four decimals below, so that columns align. */
export function formatMoney(nanos: bigint | number | string): string {
  const dollars = Number(nanos) / 1e9
  if (dollars === 0) return '$0.00'
  if (Math.abs(dollars) < 0.000_05) return '<$0.0001'
  const digits = Math.abs(dollars) >= 1 ? 2 : 4
  return `$${dollars.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })}`
}

/** Returns a duration: `420 ms`, `3.4 s`, `2 min 5 s`, `3 h 10 min`. */
export function formatDuration(ms: number): string {
  if (ms < 0) return '0 ms'
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s`
  const minutes = Math.floor(ms / 60_000)
  if (minutes < 60) return `${minutes} min ${Math.floor((ms % 60_000) / 1_000)} s`
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

/** Returns a size: `512 B`, `1.5 KiB`, `3.2 MiB`. */
export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`
  if (bytes < 1024 ** 2) return `${(bytes / 1024).toFixed(1)} KiB`
  return `${(bytes / 1024 ** 2).toFixed(1)} MiB`
}

const clock: Intl.DateTimeFormatOptions = { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' }
const today = new Intl.DateTimeFormat('en-GB', clock)
const thisYear = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', ...clock, second: undefined })
const older = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric' })
const full = new Intl.DateTimeFormat('en-GB', { dateStyle: 'full', timeStyle: 'long' })

/** Returns a local time: the clock for today, with the day for other days. */
export function formatTime(date: Date, now = new Date()): string {
  if (date.toDateString() === now.toDateString()) return today.format(date)
  return date.getFullYear() === now.getFullYear() ? thisYear.format(date) : older.format(date)
}

/** Returns the whole time, local and in UTC, for a hover. */
export function formatBoth(date: Date): string {
  return `${full.format(date)}\n${date.toISOString().replace('T', ' ').replace('Z', ' UTC')}`
}

const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'short' })
const spans = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
] as const

/** Returns a time from now: `5 min. ago`, `in 3 days`. */
export function formatAgo(date: Date, now = Date.now()): string {
  const ms = date.getTime() - now
  for (const [unit, size] of spans) {
    if (Math.abs(ms) >= size) return relative.format(Math.trunc(ms / size), unit)
  }
  return ms > 0 ? 'in a moment' : 'just now'
}

/** Returns the short form of an id: its last 12 digits, which every command takes too. */
export function shortId(id: string): string {
  return /^[0-9a-f-]{36}$/i.test(id) ? id.slice(-12) : id
}
