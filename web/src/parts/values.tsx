/** Values in tables and texts: times, numbers, money, ids. */
import { formatAgo, formatBoth, formatCount, formatMoney, formatShort, formatTime, shortId } from './format.js'

/** A time in the reader's zone; the hover shows UTC. `ago`: as a distance from now. */
export function Time({
  value,
  ago = false,
  none = '–',
}: {
  value: Date | null | undefined
  ago?: boolean
  none?: string
}) {
  if (!value) return <span className="dim">{none}</span>
  return (
    <time className="nowrap" dateTime={value.toISOString()} title={formatBoth(value)}>
      {ago ? formatAgo(value) : formatTime(value)}
    </time>
  )
}

/** A count; the hover shows all digits of a short one. */
export function Count({ value, short = false }: { value: number | null | undefined; short?: boolean }) {
  if (value === null || value === undefined) return <span className="dim">–</span>
  const text = formatCount(value)
  return <span title={short ? text : undefined}>{short ? formatShort(value) : text}</span>
}

/** An amount of money in nano-dollars. An unknown price is no zero. */
export function Money({ nanos }: { nanos: bigint | number | string | null | undefined }) {
  if (nanos === null || nanos === undefined) return <span className="dim">unpriced</span>
  return <span title={`${Number(nanos) / 1e9} USD`}>{formatMoney(nanos)}</span>
}

/** The short form of an id; the hover shows the whole. */
export function Id({ value }: { value: string }) {
  return (
    <code className="nowrap" title={value}>
      {shortId(value)}
    </code>
  )
}

/** Text that may be absent. */
export function Maybe({ value, none = '–' }: { value: string | null | undefined; none?: string }) {
  return value ? value : <span className="dim">{none}</span>
}

/** The cost of records, and whether some of them have no price. */
export function Cost({ nanos, unpriced }: { nanos: string | null; unpriced: number }) {
  if (nanos === null && unpriced === 0) return <span className="dim">–</span>
  if (nanos === null || unpriced === 0) return <Money nanos={nanos} />
  return (
    <span title={`${formatCount(unpriced)} records without a price are not in it`}>
      <Money nanos={nanos} /> <span className="dim">+?</span>
    </span>
  )
}
