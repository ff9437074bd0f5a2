/**
 * Parses the values of options. Each function throws commander's `InvalidArgumentError`, which names the accepted form.
 */
import { InvalidArgumentError } from 'commander'

/** Parses a whole number. */
export function wholeNumber(value: string): number {
  if (!/^\d{1,9}$/.test(value)) throw new InvalidArgumentError('It must be a whole number.')
  return Number(value)
}

/** Parses a whole number, or the word `default`. */
export function wholeNumberOrDefault(value: string): number | 'default' {
  if (value === 'default') return value
  if (!/^\d{1,9}$/.test(value)) throw new InvalidArgumentError('It must be a whole number, or the word default.')
  return Number(value)
}

const millisecondsOf: Readonly<Record<string, number>> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 7 * 86_400_000,
}

/**
 * Parses a point in time: ISO 8601 (a date alone is its first moment in UTC), or a duration from `now` such as `12h` or
 * `30d`.
 */
export function timeOrDuration(value: string, now = Date.now()): Date {
  const [, count, unit] = /^(\d{1,9})([smhdw])$/.exec(value) ?? []
  if (count !== undefined && unit !== undefined) {
    const time = new Date(now + Number(count) * (millisecondsOf[unit] ?? 0))
    // A Date ends in the year 275760.
    if (Number.isNaN(time.getTime())) throw new InvalidArgumentError('It is longer than any calendar.')
    return time
  }
  return isoTime(
    value,
    'It must be a duration such as 12h or 30d, or a time such as 2030-01-31 or 2030-01-31T12:00:00Z.',
  )
}

/** Parses a point in the past, as {@link timeOrDuration} does, except that a duration counts backwards. */
export function timeOrAge(value: string, now = Date.now()): Date {
  return /^\d{1,9}[smhdw]$/.test(value)
    ? new Date(2 * now - timeOrDuration(value, now).getTime())
    : timeOrDuration(value, now)
}

function isoTime(value: string, problem: string): Date {
  // Without a zone, the time would depend on the zone of the machine.
  const match = /^(\d{4}-\d{2}-\d{2})(T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2}))?$/.exec(value)
  const time = new Date(value)
  // JavaScript reads 30 February as 1 March.
  const isRealDay = match?.[1] !== undefined && new Date(`${match[1]}T00:00:00Z`).toJSON()?.startsWith(match[1])
  if (!isRealDay || Number.isNaN(time.getTime())) throw new InvalidArgumentError(problem)
  return time
}
