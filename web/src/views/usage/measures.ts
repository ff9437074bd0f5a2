/** What is counted, and by what. */
import type { UsageRow } from '../../../../shared/contract/admin/usage.js'
import { formatMoney, formatShort } from '../../parts/format.js'

/** One way to count. */
export interface Measure {
  value: string
  label: string
  unit: string
  of: (row: UsageRow) => number
  format: (value: number) => string
  formatAxis?: (value: number) => string
}

const tokens = (row: UsageRow) =>
  row.inputTokens + row.outputTokens + row.cacheReadInputTokens + row.cacheWriteInputTokens

const dollars = (nanos: number) => `$${(nanos / 1e9).toFixed(2)}`

/** The choices; the first is the default. */
export const measures: readonly [Measure, ...Measure[]] = [
  {
    value: 'cost',
    label: 'Cost',
    unit: 'US dollars',
    of: row => Number(row.costNanos ?? 0),
    format: formatMoney,
    formatAxis: dollars,
  },
  { value: 'tokens', label: 'All tokens', unit: 'tokens', of: tokens, format: formatShort },
  { value: 'input', label: 'Input', unit: 'tokens', of: row => row.inputTokens, format: formatShort },
  { value: 'output', label: 'Output', unit: 'tokens', of: row => row.outputTokens, format: formatShort },
  { value: 'cached', label: 'Cache read', unit: 'tokens', of: row => row.cacheReadInputTokens, format: formatShort },
  { value: 'requests', label: 'Requests', unit: 'requests', of: row => row.interceptions, format: formatShort },
]

/** A dimension by which is counted. */
export type Dimension = 'model' | 'user' | 'provider' | 'key' | 'client'

/** The choices; the first is the default. */
export const dimensions: readonly [{ value: Dimension; label: string }, ...{ value: Dimension; label: string }[]] = [
  { value: 'model', label: 'Model' },
  { value: 'user', label: 'User' },
  { value: 'provider', label: 'Provider' },
  { value: 'key', label: 'Key' },
  { value: 'client', label: 'Client' },
]

/** Returns the words of a dimension, for instance `by key`. */
export function labelOf(by: Dimension): string {
  return dimensions.find(({ value }) => value === by)?.label ?? by
}

/** Returns the name of a row's place in a dimension. */
export function nameOf(row: UsageRow, by: Dimension): string {
  if (by === 'user') return row.username ?? row.userId ?? 'unknown'
  if (by === 'key') return row.keyId ?? 'unknown'
  return row[by] ?? 'unknown'
}
