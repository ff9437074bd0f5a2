/** The ratios that this project sets itself, each within one run. */
import type { RowFigures } from './row-figures.js'

interface Target {
  figure: 'seqP50Us' | 'callsPerSecond64' | 'callsPerSecond1024' | 'itemsPerSecond' | 'heapBytesPerConnection'
  row: string
  /** rows to compare with; of several the best */
  against: readonly string[]
  atMost?: number
  atLeast?: number
}

/** `trpc wsLink` has targets of its own. */
const peers = ['capnweb websocket', 'orpc websocket']

export const targets: readonly Target[] = [
  { figure: 'seqP50Us', row: 'aibridge memory', against: ['trpc createCaller'], atMost: 0.65 },
  { figure: 'callsPerSecond64', row: 'aibridge memory', against: ['trpc createCaller'], atLeast: 1.3 },
  {
    figure: 'seqP50Us',
    row: 'aibridge memory createTRPCClient',
    against: ['trpc chain, empty link'],
    atMost: 1.2,
  },
  { figure: 'seqP50Us', row: 'aibridge memory createTRPCClient', against: ['trpc localLink'], atMost: 0.5 },
  { figure: 'seqP50Us', row: 'aibridge websocket', against: ['ws echo'], atMost: 1.8 },
  { figure: 'callsPerSecond64', row: 'aibridge websocket', against: ['ws echo'], atLeast: 0.75 },
  { figure: 'callsPerSecond1024', row: 'aibridge websocket', against: ['ws echo'], atLeast: 0.7 },
  { figure: 'seqP50Us', row: 'aibridge websocket', against: ['trpc wsLink'], atMost: 1 / 30 },
  { figure: 'callsPerSecond64', row: 'aibridge websocket', against: ['trpc wsLink'], atLeast: 3.5 },
  { figure: 'callsPerSecond1024', row: 'aibridge websocket', against: ['trpc wsLink'], atLeast: 3.5 },
  { figure: 'seqP50Us', row: 'aibridge websocket', against: peers, atMost: 1 },
  { figure: 'callsPerSecond64', row: 'aibridge websocket', against: peers, atLeast: 1 },
  { figure: 'callsPerSecond1024', row: 'aibridge websocket', against: peers, atLeast: 1 },
  { figure: 'itemsPerSecond', row: 'aibridge websocket', against: ['trpc wsLink'], atLeast: 4 },
  { figure: 'heapBytesPerConnection', row: 'aibridge websocket', against: ['trpc wsLink'], atMost: 0.8 },
]

/** Returns a line for each target whose rows were measured. */
export function targetLines(rows: readonly RowFigures[]): string[] {
  return targets.flatMap(({ figure, row, against, atMost, atLeast }) => {
    const value = rows.find(({ name }) => name === row)?.[figure]
    const others = rows.flatMap(other => {
      const theirs = other[figure]
      return against.includes(other.name) && typeof theirs === 'number' ? [{ name: other.name, theirs }] : []
    })
    const best = others.sort((a, b) => (atMost === undefined ? b.theirs - a.theirs : a.theirs - b.theirs))[0]
    if (typeof value !== 'number' || !best) return []
    const ratio = value / best.theirs
    const met = atMost === undefined ? ratio >= (atLeast ?? 0) : ratio <= atMost
    const bound = atMost === undefined ? `≥ ${digits(atLeast ?? 0)}` : `≤ ${digits(atMost)}`
    const columns = [
      row.padEnd(36),
      figureNames[figure].padEnd(22),
      `${digits(ratio)} ×`.padStart(9),
      ` ${best.name}`.padEnd(26),
      bound.padEnd(9),
      met ? 'met' : 'missed',
    ]
    return [columns.join('')]
  })
}

const figureNames: Record<Target['figure'], string> = {
  seqP50Us: 'one after another, µs',
  callsPerSecond64: '64 in flight/s',
  callsPerSecond1024: '1,024 in flight/s',
  itemsPerSecond: 'items/s',
  heapBytesPerConnection: 'heap, server end',
}

const digits = (ratio: number): string => ratio.toFixed(ratio < 0.1 ? 3 : 2)
