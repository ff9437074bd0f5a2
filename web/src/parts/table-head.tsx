import type { RowData, Column as TableColumn } from '@tanstack/react-table'
import type { Column, Features } from './columns.js'

/** The head of a column: a button where the column sorts. */
export function HeadCell<Row extends RowData>({
  header,
  column,
}: {
  header: TableColumn<Features, Row>
  column: Column<Row> | undefined
}) {
  if (!column) return null
  const sorted = header.getIsSorted()
  const className = [column.align === 'right' ? 'num' : '', column.from ? `from-${column.from}` : ''].join(' ').trim()
  const label = column.header === '' ? <span className="visually-hidden">Actions</span> : column.header
  return (
    <th
      scope="col"
      className={className}
      aria-sort={sorted === 'asc' ? 'ascending' : sorted === 'desc' ? 'descending' : undefined}
    >
      {header.getCanSort() ? (
        <button type="button" className="tbl-sort" onClick={header.getToggleSortingHandler()}>
          {label}
          <span aria-hidden="true">{sorted === 'asc' ? ' ↑' : sorted === 'desc' ? ' ↓' : ''}</span>
        </button>
      ) : (
        label
      )}
    </th>
  )
}
