/** The figures of all rows, for people and as JSON. */
import type { IdleHeap } from './idle.js'
import type { RowFigures } from './row-figures.js'
import type { Row } from './rows/row.js'
import { targetLines } from './targets.js'

/** Prints one object per row and line. */
export function printJson(figures: readonly RowFigures[]): void {
  for (const row of figures) console.log(JSON.stringify(row))
}

/** Prints the table, what each row does, and the targets. */
export function printTable(
  rows: readonly Row[],
  figures: readonly RowFigures[],
  heaps: ReadonlyMap<string, IdleHeap>,
): void {
  const headings = ['µs a call', '64 in flight/s', '1,024 in flight/s', 'items/s', 'KiB, server end', 'KiB, both ends']
  console.log(`\nCalls, subscriptions and idle connections, all rows in turns (Node ${process.versions.node})`)
  console.log(' '.repeat(36) + headings.map(heading => heading.padStart(19)).join(''))
  for (const row of figures) {
    const columns = [
      row.seqP50Us?.toFixed(1),
      ...[row.callsPerSecond64, row.callsPerSecond1024, row.itemsPerSecond].map(rate => rate?.toLocaleString('en')),
      kibibytes(row.heapBytesPerConnection),
      kibibytes(heaps.get(row.name)?.bothEnds),
    ]
    console.log(row.name.padEnd(36) + columns.map(column => (column ?? '').padStart(19)).join(''))
  }
  console.log(
    '\nOne call is a recordTokenUsage with nested metadata and a Date, checked by zod, a handler that returns {}.',
  )
  for (const { name, does } of rows) console.log(`${name.padEnd(36)}${does}`)
  console.log('\nTargets')
  for (const line of targetLines(figures)) console.log(line)
}

function kibibytes(bytes: number | null | undefined): string | undefined {
  return typeof bytes === 'number' ? (bytes / 1024).toFixed(1) : undefined
}
