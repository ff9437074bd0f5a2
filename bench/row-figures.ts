import type { IdleHeap } from './idle.js'
import type { Row } from './rows/row.js'
import type { Figures } from './running-row.js'

/** A line of `npm run bench -- --json`; null where a figure does not apply or was not wanted. */
export interface RowFigures {
  name: string
  /** µs of one call, one after another */
  seqP50Us: number | null
  callsPerSecond64: number | null
  callsPerSecond1024: number | null
  itemsPerSecond: number | null
  /** of the server's end, idle */
  heapBytesPerConnection: number | null
}

/** Returns the rows in their order. */
export function rowFigures(
  rows: readonly Row[],
  figures: ReadonlyMap<string, Figures>,
  heaps: ReadonlyMap<string, IdleHeap>,
): RowFigures[] {
  return rows.map(({ name }) => {
    const { seqP50Us, callsPerSecond64, callsPerSecond1024, itemsPerSecond } = figures.get(name) ?? {}
    return {
      name,
      seqP50Us: rounded(seqP50Us, 2),
      callsPerSecond64: rounded(callsPerSecond64, 0),
      callsPerSecond1024: rounded(callsPerSecond1024, 0),
      itemsPerSecond: rounded(itemsPerSecond, 0),
      heapBytesPerConnection: rounded(heaps.get(name)?.server, 0),
    }
  })
}

function rounded(value: number | undefined, digits: number): number | null {
  return value === undefined ? null : Number(value.toFixed(digits))
}
