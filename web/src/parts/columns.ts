/** Columns of tables. */
import {
  createSortedRowModel,
  type RowData,
  rowSortingFeature,
  sortFn_alphanumeric,
  sortFn_basic,
  tableFeatures,
} from '@tanstack/react-table'
import type { ReactNode } from 'react'

/** What tables do: columns that sort. */
export const features = tableFeatures({
  rowSortingFeature,
  sortedRowModel: createSortedRowModel(),
  sortFns: { basic: sortFn_basic, alphanumeric: sortFn_alphanumeric },
})

/** The features of every table. */
export type Features = typeof features

/** One column. */
export interface Column<Row extends RowData> {
  id: string
  header: string
  cell: (row: Row) => ReactNode
  /** numbers stand on the right */
  align?: 'right'
  /** CSS width; the columns without one share the rest */
  width?: string
  /** CSS width on a narrow page; default: a share of the rest */
  narrow?: string
  /** the narrowest page on which the column is shown; default: any */
  from?: 'medium' | 'wide'
  /** makes the column sortable, in lists of which all rows are here */
  sort?: (row: Row) => string | number | bigint | null | undefined
}
