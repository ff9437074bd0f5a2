import { useMemo } from 'react'
import type { UsageRow } from '../../../../shared/contract/admin/usage.js'
import { Link } from '../../navigation/link.js'
import { type Search, withSearch } from '../../navigation/location.js'
import type { Column } from '../../parts/columns.js'
import { DataTable } from '../../parts/data-table.js'
import { Cost, Count } from '../../parts/values.js'
import { type Dimension, labelOf, type Measure, nameOf } from './measures.js'
import './usage.css'

/** The sums of a report; a name narrows the report to itself. */
export function UsageTable({
  rows,
  by,
  measure,
  search,
}: {
  rows: readonly UsageRow[]
  by: Dimension
  measure: Measure
  search: Search
}) {
  const columns = useMemo((): Column<UsageRow>[] => {
    const total = rows.reduce((sum, row) => sum + measure.of(row), 0)
    const number = (
      id: string,
      header: string,
      of: (row: UsageRow) => number,
      from?: 'medium' | 'wide',
    ): Column<UsageRow> => ({
      id,
      header,
      align: 'right',
      sort: of,
      cell: row => <Count value={of(row)} />,
      ...(from && { from }),
    })
    return [
      {
        id: 'name',
        header: labelOf(by),
        width: '26%',
        narrow: '44%',
        sort: row => nameOf(row, by),
        cell: row => (
          <Link
            href={withSearch('/usage', { ...search, [by]: nameOf(row, by), by: by === 'model' ? 'provider' : 'model' })}
          >
            {nameOf(row, by)}
          </Link>
        ),
      },
      {
        id: 'share',
        header: 'Share',
        width: '120px',
        from: 'medium',
        sort: measure.of,
        cell: row => <Share part={total === 0 ? 0 : measure.of(row) / total} />,
      },
      {
        id: 'cost',
        header: 'Cost',
        align: 'right',
        sort: row => (row.costNanos === null ? null : Number(row.costNanos)),
        cell: row => <Cost nanos={row.costNanos} unpriced={row.unpricedRecords} />,
      },
      number('requests', 'Requests', row => row.interceptions),
      number('input', 'Input', row => row.inputTokens, 'medium'),
      number('read', 'Cache read', row => row.cacheReadInputTokens, 'wide'),
      number('write', 'Cache write', row => row.cacheWriteInputTokens, 'wide'),
      number('output', 'Output', row => row.outputTokens, 'medium'),
    ]
  }, [rows, by, measure, search])
  const sorted = useMemo(() => rows.toSorted((a, b) => measure.of(b) - measure.of(a)), [rows, measure])
  return <DataTable inline label={`Usage by ${by}`} columns={columns} rows={sorted} rowKey={row => nameOf(row, by)} />
}

function Share({ part }: { part: number }) {
  return (
    <span className="share" title={`${(part * 100).toFixed(1)} %`}>
      <span className="share-bar">
        <span style={{ width: `${Math.max(1, part * 100)}%` }} />
      </span>
      <span className="share-text">{(part * 100).toFixed(part < 0.1 ? 1 : 0)} %</span>
    </span>
  )
}
