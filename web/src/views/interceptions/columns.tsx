import type { Interception } from '../../../../shared/contract/admin/interceptions.js'
import { requestKindKey } from '../../../../shared/contract/request-kinds.js'
import type { Column } from '../../parts/columns.js'
import { formatDuration } from '../../parts/format.js'
import { Tag } from '../../parts/status.js'
import { Cost, Maybe, Time } from '../../parts/values.js'
import { Outcome } from './outcome.js'

/** Returns the kind of a request that a client made for itself, such as `title`. */
function kindOf({ metadata, interceptionKind }: Interception): string | undefined {
  const kind = metadata?.[requestKindKey]
  if (interceptionKind === 'mcp') return 'tool'
  return typeof kind === 'string' ? kind : undefined
}

/** The columns of requests; `isOwn`: without the user. */
export function interceptionColumns(isOwn: boolean): Column<Interception>[] {
  const columns: (Column<Interception> | false)[] = [
    { id: 'time', header: 'Started', width: '118px', narrow: '82px', cell: row => <Time value={row.startedAt} /> },
    !isOwn && {
      id: 'user',
      header: 'User',
      width: '13%',
      narrow: '24%',
      cell: row => <Maybe value={row.username} none="deleted" />,
    },
    {
      id: 'model',
      header: 'Model',
      cell: row => {
        const kind = kindOf(row)
        return (
          <>
            {row.model} {kind && <Tag>{kind}</Tag>}
          </>
        )
      },
    },
    { id: 'provider', header: 'Provider', width: '11%', from: 'medium', cell: row => row.providerName },
    { id: 'client', header: 'Client', width: '10%', from: 'wide', cell: row => <Maybe value={row.client} /> },
    {
      id: 'session',
      header: 'Session',
      width: '98px',
      from: 'wide',
      cell: row => (
        <span title={row.clientSessionId ?? undefined}>
          <Maybe value={row.clientSessionId?.slice(-8)} />
        </span>
      ),
    },
    { id: 'outcome', header: 'Outcome', width: '124px', narrow: '96px', cell: row => <Outcome row={row} /> },
    {
      id: 'cost',
      header: 'Cost',
      width: '94px',
      align: 'right',
      from: 'medium',
      cell: row => <Cost nanos={row.costNanos} unpriced={row.unpricedRecords} />,
    },
    {
      id: 'duration',
      header: 'Duration',
      width: '96px',
      align: 'right',
      from: 'medium',
      cell: row =>
        row.endedAt ? formatDuration(row.endedAt.getTime() - row.startedAt.getTime()) : <span className="dim">–</span>,
    },
  ]
  return columns.filter(column => column !== false)
}
