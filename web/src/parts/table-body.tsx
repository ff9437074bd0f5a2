import type { RowData, Row as TableRow } from '@tanstack/react-table'
import { useVirtualizer } from '@tanstack/react-virtual'
import { useEffect } from 'react'
import type { Column, Features } from './columns.js'

/** Properties of {@link TableBody}. */
interface TableBodyProps<Row extends RowData> {
  rows: readonly TableRow<Features, Row>[]
  columns: ReadonlyMap<string, Column<Row>>
  /** the element that scrolls, null until it is there; absent: all rows stand in the document */
  scroller: HTMLDivElement | null | undefined
  onMore: (() => void) | undefined
  onTop: ((isAtTop: boolean) => void) | undefined
  isFresh: ((row: Row) => boolean) | undefined
  hasLinks: boolean
}

/** Height of a row in px, as `--row` says. */
const rowHeight = () => (window.matchMedia('(width < 900px)').matches ? 40 : 36)

/** Places of tables, so that the way back from a row ends where it began. */
const places = new Map<string, number>()

/** The rows in sight, with space in the place of the others. */
export function TableBody<Row extends RowData>({
  rows,
  columns,
  scroller,
  onMore,
  onTop,
  isFresh,
  hasLinks,
}: TableBodyProps<Row>) {
  const place = window.location.pathname + window.location.search
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller ?? null,
    estimateSize: rowHeight,
    overscan: 6,
    enabled: scroller !== undefined,
    initialOffset: places.get(place) ?? 0,
    onChange: ({ scrollOffset }) => {
      places.set(place, scrollOffset ?? 0)
      onTop?.((scrollOffset ?? 0) < rowHeight())
    },
  })
  const items = scroller !== undefined ? virtual.getVirtualItems() : undefined
  const shown = items ? items.map(({ index }) => index) : rows.map((_, index) => index)
  const before = items?.[0]?.start ?? 0
  const after = items ? virtual.getTotalSize() - (items.at(-1)?.end ?? 0) : 0
  const last = shown.at(-1) ?? 0
  const isNearEnd = last >= rows.length - 20
  useEffect(() => {
    if (isNearEnd && scroller) onMore?.()
  }, [isNearEnd, onMore, scroller])

  return (
    <tbody className={hasLinks ? 'tbl-links' : undefined}>
      {before > 0 && <Space height={before} />}
      {shown.map(index => {
        const row = rows[index]
        return (
          row && (
            <tr key={row.id} aria-rowindex={index + 2} className={isFresh?.(row.original) ? 'tbl-fresh' : undefined}>
              {row.getAllCells().map(cell => {
                const column = columns.get(cell.column.id)
                const className = [column?.align === 'right' ? 'num' : '', column?.from ? `from-${column.from}` : '']
                return (
                  <td key={cell.id} className={className.join(' ').trim() || undefined}>
                    {typeof cell.column.columnDef.cell === 'function' && cell.column.columnDef.cell(cell.getContext())}
                  </td>
                )
              })}
            </tr>
          )
        )
      })}
      {after > 0 && <Space height={after} />}
    </tbody>
  )
}

/** Spans one column: a span over hidden columns would bring them back. */
function Space({ height }: { height: number }) {
  return (
    <tr className="tbl-space">
      <td style={{ height }} />
    </tr>
  )
}
