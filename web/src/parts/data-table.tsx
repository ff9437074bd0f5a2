/**
 * Tables of rows: columns that sort where all rows are here, pages from the server where they are not, and only the
 * rows in sight in the document.
 */
import { type ColumnDef, type RowData, useTable } from '@tanstack/react-table'
import { type CSSProperties, type KeyboardEvent, type MouseEvent, type ReactNode, useMemo, useState } from 'react'
import { isPlain, Link } from '../navigation/link.js'
import { navigate } from '../navigation/location.js'
import { type Column, type Features, features } from './columns.js'
import { Failed, Loading } from './states.js'
import './data-table.css'
import { TableBody } from './table-body.js'
import { HeadCell } from './table-head.js'

/** Properties of {@link DataTable}. */
export interface DataTableProps<Row extends RowData> {
  /** names the table for screen readers */
  label: string
  columns: readonly Column<Row>[]
  rows: readonly Row[] | undefined
  rowKey: (row: Row) => string
  /** the view of one row; the first column is then a link */
  rowHref?: (row: Row) => string
  error?: unknown
  retry?: () => void
  /** shown in the place of rows */
  empty?: ReactNode
  /** asks for the next page; absent on the last page */
  onMore?: (() => void) | undefined
  /** rows that have just arrived */
  isFresh?: (row: Row) => boolean
  /** the table stands among others and does not scroll by itself */
  inline?: boolean
  /** told whether the first row is in sight */
  onTop?: (isAtTop: boolean) => void
}

/** A table of rows. */
export function DataTable<Row extends RowData>(props: DataTableProps<Row>) {
  const { label, columns, rows, rowKey, rowHref, error, retry, empty, inline = false, onMore, onTop, isFresh } = props
  const [scroller, setScroller] = useState<HTMLDivElement | null>(null)
  const definitions = useMemo(() => columns.map(column => definitionOf(column, rowHref)), [columns, rowHref])
  const data = useMemo(() => (rows ? [...rows] : []), [rows])
  const table = useTable({ features, columns: definitions, data, getRowId: rowKey })
  const known = useMemo(() => new Map(columns.map(column => [column.id, column])), [columns])

  if (rows === undefined || rows.length === 0) {
    const content = error ? <Failed error={error} retry={retry} /> : rows ? empty : <Loading />
    return <div className={inline ? 'tbl tbl-inline' : 'tbl'}>{content}</div>
  }
  return (
    <div
      className={inline ? 'tbl tbl-inline' : 'tbl'}
      ref={setScroller}
      tabIndex={inline ? undefined : 0}
      role="region"
      aria-label={label}
      onKeyDown={moveByKey}
      onClick={openRow}
    >
      <table className="tbl-table" aria-rowcount={onMore ? -1 : rows.length + 1}>
        <colgroup>
          {columns.map(({ id, width, narrow, from }) => (
            <col
              key={id}
              className={from && `from-${from}`}
              style={{ '--wide': width ?? 'auto', '--narrow': narrow ?? 'auto' } as CSSProperties} // names of its own
            />
          ))}
        </colgroup>
        <thead>
          {table.getHeaderGroups().map(group => (
            <tr key={group.id} aria-rowindex={1}>
              {group.headers.map(header => (
                <HeadCell key={header.id} header={header.column} column={known.get(header.column.id)} />
              ))}
            </tr>
          ))}
        </thead>
        <TableBody
          rows={table.getRowModel().rows}
          columns={known}
          scroller={inline ? undefined : scroller}
          onMore={onMore}
          onTop={onTop}
          isFresh={isFresh}
          hasLinks={rowHref !== undefined}
        />
      </table>
    </div>
  )
}

function definitionOf<Row extends RowData>(
  column: Column<Row>,
  rowHref?: (row: Row) => string,
): ColumnDef<Features, Row, unknown> {
  const { id, header, sort } = column
  const isFirst = header !== '' && rowHref !== undefined
  return {
    id,
    header,
    ...(sort && { accessorFn: (row: Row) => sort(row) ?? undefined, sortFn: 'basic', sortUndefined: 'last' }),
    enableSorting: sort !== undefined,
    cell: ({ row, table }) => {
      const content = column.cell(row.original)
      const isLink = isFirst && table.getAllColumns()[0]?.id === id
      return isLink ? (
        <Link className="tbl-link" href={rowHref(row.original)}>
          {content}
        </Link>
      ) : (
        content
      )
    },
  }
}

/** A click anywhere in a row opens the row, as its link does. Buttons, links and selected text are left alone. */
function openRow(event: MouseEvent<HTMLElement>): void {
  const target = event.target instanceof Element ? event.target : null
  if (!isPlain(event) || target?.closest('a, button, input, select, label, summary')) return
  if (String(window.getSelection()) !== '') return
  const href = target?.closest('tr')?.querySelector<HTMLAnchorElement>('a.tbl-link')?.getAttribute('href')
  if (href) navigate(href)
}

/** The arrow keys go from row to row. */
function moveByKey(event: KeyboardEvent<HTMLElement>): void {
  const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0
  if (step === 0 || !(event.target instanceof Element) || event.target.closest('input, select, textarea')) return
  const links = [...event.currentTarget.querySelectorAll<HTMLAnchorElement>('a.tbl-link')]
  const index = links.findIndex(
    link => link === document.activeElement || link.closest('tr')?.contains(document.activeElement),
  )
  const next = links[index + step] ?? (index < 0 ? links[0] : undefined)
  if (!next) return
  event.preventDefault()
  next.focus()
  next.scrollIntoView({ block: 'nearest' })
}
