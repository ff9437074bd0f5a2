import type { UsageRow } from '../../../../shared/contract/admin/usage.js'
import type { PlotSeries } from '../../parts/plot.js'
import { type Dimension, type Measure, nameOf } from './measures.js'

/** Colours of the plot: more series than these are one. */
const maxSeries = 7

/** Returns the series of a plot, the largest first, the small ones together. */
export function seriesOf(
  rows: readonly UsageRow[],
  days: readonly string[],
  by: Dimension,
  measure: Measure,
): PlotSeries[] {
  const places = new Map(days.map((day, index) => [day, index]))
  const totals = new Map<string, number[]>()
  for (const row of rows) {
    const place = row.day === null ? undefined : places.get(row.day)
    if (place === undefined) continue
    const name = nameOf(row, by)
    const values = totals.get(name) ?? days.map(() => 0)
    values[place] = (values[place] ?? 0) + measure.of(row)
    totals.set(name, values)
  }
  const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0)
  // A series without a value would stand in the legend as a zero, which an unpriced model is not.
  const known = [...totals].map(([label, values]) => ({ label, values })).filter(({ values }) => sum(values) > 0)
  const sorted = known.sort((a, b) => sum(b.values) - sum(a.values))
  if (sorted.length <= maxSeries + 1) return sorted
  const others = days.map((_, day) => sum(sorted.slice(maxSeries).map(({ values }) => values[day] ?? 0)))
  return [...sorted.slice(0, maxSeries), { label: `${sorted.length - maxSeries} others`, values: others }]
}
