import type { Effort } from './effort.js'
import { measureIdle } from './idle.js'
import { printJson, printTable } from './report.js'
import { measureRounds } from './rounds.js'
import { rowFigures } from './row-figures.js'
import { allRows } from './rows/all.js'
import { peerNames } from './rows/peers.js'

/** The parts that all rows share, in one run. */
export const linkParts = ['calls', 'subscription', 'idle'] as const

interface LinkOptions {
  parts: readonly (typeof linkParts)[number][]
  effort: Effort
  /** Returns the milliseconds that rates are counted by. */
  clock: () => number
  json: boolean
  /** whether the rows of bench/package.json run too */
  peers: boolean
  /** Rows whose names contain one of these; all if it is empty. */
  only: readonly string[]
}

/** Calls, subscriptions and idle connections of this project, tRPC and the peers. */
export async function benchLinks({ parts, effort, clock, json, peers, only }: LinkOptions): Promise<void> {
  const isWanted = (name: string): boolean => only.length === 0 || only.some(part => name.includes(part))
  const all = await allRows({ peers: peers && peerNames.some(isWanted) })
  const rows = all.filter(({ name }) => isWanted(name))
  if (rows.length === 0) throw new Error(`no row has a name with ${only.join(' or ')}`)
  // Idle connections come first, while the heap of this process is small.
  const heaps = parts.includes('idle') ? await measureIdle(rows, effort.connections) : new Map()
  const wanted = { calls: parts.includes('calls'), subscriptions: parts.includes('subscription') }
  const figures = rowFigures(rows, await measureRounds(rows, wanted, effort, clock), heaps)
  if (json) printJson(figures)
  else printTable(rows, figures, heaps)
}
