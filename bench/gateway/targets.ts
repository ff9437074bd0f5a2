/** The ratios that the gateway sets itself, each within one run. */
import type { GatewayFigures } from './run.js'

interface Target {
  what: string
  figure: (row: GatewayFigures) => number
  /** name of the row to compare with */
  against: string
  atMost?: number
  atLeast?: number
}

const rate = (row: GatewayFigures) => row.blocking.requestsPerSecond

export const gatewayTargets: readonly Target[] = [
  { what: 'requests/s', figure: rate, against: 'portkey', atLeast: 2 },
  { what: 'streams/s', figure: row => row.streams.requestsPerSecond, against: 'portkey', atLeast: 2 },
  { what: 'requests/s', figure: rate, against: 'aibridge-other', atLeast: 2 },
  { what: 'CPU of a request', figure: row => row.blocking.cpuUs, against: 'aibridge-other', atMost: 0.5 },
  { what: 'CPU of a stream', figure: row => row.streams.cpuUs, against: 'aibridge-other', atMost: 0.45 },
  { what: 'first byte added', figure: row => row.blocking.firstByteAddedMs, against: 'aibridge-other', atMost: 0.45 },
  { what: 'peak memory', figure: row => row.peakMiB, against: 'aibridge-other', atMost: 0.6 },
]

/** Returns a line for each target whose rows were measured. */
export function gatewayTargetLines(rows: readonly GatewayFigures[]): string[] {
  const own = rows.find(({ name }) => name === 'aibridge')
  return gatewayTargets.flatMap(({ what, figure, against, atMost, atLeast }) => {
    const other = rows.find(({ name }) => name === against)
    if (!own || !other) return []
    const ratio = figure(own) / figure(other)
    const isMet = atMost === undefined ? ratio >= (atLeast ?? 0) : ratio <= atMost
    const bound = atMost === undefined ? `≥ ${atLeast}` : `≤ ${atMost}`
    const columns = [what.padEnd(20), `${ratio.toFixed(2)} ×`.padStart(8), ` ${against}`.padEnd(18), bound.padEnd(8)]
    return [columns.join('') + (isMet ? 'met' : 'missed')]
  })
}
