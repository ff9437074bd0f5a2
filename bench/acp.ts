/**
 * Updates per second of one session of the Agent Client Protocol, both ends in this process: each update is a JSON-RPC
 * message of its own, counted at the client. And the heap of an idle connection, both ends.
 */
import { aibridgeAcpRows } from './acp/aibridge.js'
import { officialAcpRows } from './acp/official.js'
import type { AcpRow, OpenAcpRow } from './acp/row.js'
import { heapInUse } from './heap.js'
import { median } from './median.js'

/** How much is measured. */
export interface AcpEffort {
  rounds: number
  /** rounds whose figures are dropped: V8 compiles */
  warmUps: number
  /** updates of one prompt */
  updates: number
  /** idle connections of one row */
  connections: number
}

/** Figures of one row. */
interface AcpFigures {
  name: string
  updatesPerSecond: number
  /** the median of the ratios to the official SDK on the same transport, within a round */
  ratio: number
  /** both ends */
  heapBytesPerConnection: number
}

/** Ratio to the official SDK's both ends, at least. */
export const acpTarget = 3

const rows: readonly AcpRow[] = [...aibridgeAcpRows, ...officialAcpRows]

/**
 * Measures all rows in turns, and prints the figures.
 * @throws Error if a client received another number of updates than its agent has sent, or in another order
 */
export async function benchAcp({ effort, json }: { effort: AcpEffort; json: boolean }): Promise<void> {
  const running: { row: AcpRow; open: OpenAcpRow; rates: number[] }[] = []
  for (const row of rows) running.push({ row, open: await row.open(), rates: [] })
  for (let round = 0; round < effort.warmUps + effort.rounds; round++) {
    for (const { row, open, rates } of running) {
      globalThis.gc?.({ type: 'minor' })
      rates.push(await rateOf(row.name, open, effort.updates))
    }
  }
  for (const { open } of running) await open.close()
  const figures: AcpFigures[] = []
  for (const { row, rates } of running) {
    const peer = running.find(other => other.row.transport === row.transport && other.row.name.startsWith('official'))
    const ratios = rates.map((rate, round) => rate / (peer?.rates[round] ?? Number.NaN))
    figures.push({
      name: row.name,
      updatesPerSecond: median(rates.slice(effort.warmUps)),
      ratio: median(ratios.slice(effort.warmUps)),
      heapBytesPerConnection: await idleHeap(row, effort.connections),
    })
  }
  print(figures, json)
}

async function rateOf(name: string, open: OpenAcpRow, updates: number): Promise<number> {
  const begun = performance.now()
  const { received, isInOrder } = await open.prompt(updates)
  const ms = performance.now() - begun
  if (received !== updates || !isInOrder) throw new Error(`${name}: ${received} of ${updates} came, or out of order`)
  return (updates / ms) * 1_000
}

async function idleHeap(row: AcpRow, connections: number): Promise<number> {
  const idle = await row.openIdle()
  const closes: (() => Promise<void>)[] = []
  const hold = async (count: number): Promise<void> => {
    for (let opened = 0; opened < count; opened++) closes.push(await idle.connect())
  }
  await hold(20)
  const before = await heapInUse()
  await hold(connections)
  const grown = (await heapInUse()) - before
  await Promise.all(closes.map(close => close()))
  await idle.close()
  return grown / connections
}

function print(figures: readonly AcpFigures[], json: boolean): void {
  if (json) {
    for (const { name, updatesPerSecond, ratio, heapBytesPerConnection } of figures) {
      const rounded = {
        updatesPerSecond: Math.round(updatesPerSecond),
        ratio: Number(ratio.toFixed(3)),
        heapBytesPerConnection: Math.round(heapBytesPerConnection),
      }
      console.log(JSON.stringify({ name, ...rounded }))
    }
    return
  }
  console.log(`\nUpdates of one ACP session, both ends in one process (Node ${process.versions.node})`)
  printColumns('', 'updates/s', '× official sdk', 'KiB per idle connection')
  for (const { name, updatesPerSecond, ratio, heapBytesPerConnection } of figures) {
    const kib = (heapBytesPerConnection / 1024).toFixed(1)
    printColumns(name, Math.round(updatesPerSecond).toLocaleString('en'), ratio.toFixed(2), kib)
  }
  console.log('\nTargets')
  for (const { name, ratio } of figures) {
    if (!name.startsWith('aibridge')) continue
    const verdict = ratio >= acpTarget ? 'met' : 'missed'
    console.log(`${name.padEnd(firstColumn)}${ratio.toFixed(2)} × (≥ ${acpTarget}) ${verdict}`)
  }
}

const firstColumn = 26

function printColumns(name: string, ...columns: string[]): void {
  console.log(name.padEnd(firstColumn) + columns.map(column => column.padStart(26)).join(''))
}
