/**
 * Measures all rows in one run, in turns: each round measures each figure of each row once, so that a slow spell hits
 * all rows, and a figure is the median of its rounds.
 */
import type { Effort } from './effort.js'
import { median } from './median.js'
import type { Row } from './rows/row.js'
import { type Figures, RunningRow } from './running-row.js'

const ofCalls = ['seqP50Us', 'callsPerSecond64', 'callsPerSecond1024'] as const
const ofSubscriptions = ['itemsPerSecond'] as const

/**
 * Resolves with the figures of each row by its name.
 * @throws Error if a row lost, repeated or changed data
 */
export async function measureRounds(
  rows: readonly Row[],
  wanted: { calls: boolean; subscriptions: boolean },
  effort: Effort,
  clock: () => number,
): Promise<Map<string, Figures>> {
  const names = [...(wanted.calls ? ofCalls : []), ...(wanted.subscriptions ? ofSubscriptions : [])]
  const figures = new Map<string, Figures>()
  if (names.length === 0) return figures
  const running = await Promise.all(rows.map(row => RunningRow.open(row, effort, clock)))
  for (const row of running) await row.verify()
  for (let round = 0; round < effort.warmUps + effort.rounds; round++) {
    for (const name of names) {
      for (const row of running) {
        // One row's garbage must not be collected in the next one's time. A full collection would drop compiled code.
        globalThis.gc?.({ type: 'minor' })
        await row.measure(name)
      }
    }
  }
  for (const row of running) {
    await row.verify()
    await row.close()
    const medians = [...row.samples].map(([name, samples]) => [name, median(samples.slice(effort.warmUps))])
    figures.set(row.name, Object.fromEntries(medians))
  }
  return figures
}
