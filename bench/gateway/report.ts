/** The figures of the gateways, for people and as JSON. */
import { chunksOfStream, type LoadKind } from './conversation.js'
import { type GatewayFigures, inFlight } from './run.js'
import { gatewayTargetLines } from './targets.js'

/** Prints one object per row and line; null stands where a figure does not apply. */
export function printGatewaysAsJson(figures: readonly GatewayFigures[]): void {
  for (const { does: _does, ...row } of figures) {
    // JSON has no NaN, and writes null.
    console.log(JSON.stringify(row, (_, value) => (typeof value === 'number' ? Number(value.toFixed(2)) : value)))
  }
}

/** Prints the table, what each row does, and the targets. */
export function printGateways(figures: readonly GatewayFigures[]): void {
  console.log(`\nRequests through gateways, ${inFlight} in flight (Node ${process.versions.node})`)
  for (const [kind, title] of Object.entries(titles) as [LoadKind, string][]) {
    printColumns(title, ['requests/s', 'CPU, µs', 'main thread', 'busiest other', 'first byte, ms'])
    for (const row of figures) {
      const { requestsPerSecond, cpuUs, mainThreadUs, busiestOtherThreadUs, firstByteAddedMs } = row[kind]
      const whole = [requestsPerSecond, cpuUs, mainThreadUs, busiestOtherThreadUs].map(value => number(value, 0))
      printColumns(row.name, [...whole, number(firstByteAddedMs, 2)])
    }
  }
  printColumns('memory, MiB', ['idle', 'largest'])
  for (const { name, idleMiB, peakMiB } of figures) printColumns(name, [number(idleMiB, 0), number(peakMiB, 0)])
  console.log('\nCPU is of one request, in the gateway, with the work that follows the response.')
  for (const { name, does } of figures) console.log(`${name.padEnd(firstColumn)}${does}`)
  const targets = gatewayTargetLines(figures)
  if (targets.length > 0) console.log(`\nTargets\n${targets.join('\n')}`)
}

const firstColumn = 28

const titles: Readonly<Record<LoadKind, string>> = {
  blocking: 'small blocking responses',
  streams: `streams of ${chunksOfStream} chunks`,
}

function printColumns(first: string, others: readonly string[]): void {
  console.log(first.padEnd(firstColumn) + others.map(column => column.padStart(16)).join(''))
}

function number(value: number, digits: number): string {
  if (Number.isNaN(value)) return ''
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}
