import { useQuery } from '@tanstack/react-query'
import type { DaemonKey } from '../../../../shared/contract/admin/daemon-keys.js'
import { daemonKeysQuery, useRevokeDaemonKey } from '../../data/keys.js'
import type { Column } from '../../parts/columns.js'
import { ConfirmButton } from '../../parts/confirm.js'
import { DataTable } from '../../parts/data-table.js'
import { Empty } from '../../parts/states.js'
import { Tag } from '../../parts/status.js'
import { Maybe, Time } from '../../parts/values.js'
import { KeyState } from './key-state.js'
import { NewDaemonKeyButton } from './new-daemon-key.js'

const columns: Column<DaemonKey>[] = [
  {
    id: 'name',
    header: 'Name',
    sort: row => row.name,
    cell: row => (
      <>
        <Maybe value={row.name} none="no name" />{' '}
        {row.delegate && <Tag title="May ask for users by the id of a key">delegate</Tag>}
      </>
    ),
  },
  { id: 'id', header: 'Id', width: '118px', from: 'medium', cell: row => <code>{row.id}</code> },
  { id: 'state', header: 'State', width: '124px', narrow: '96px', cell: row => <KeyState {...row} /> },
  {
    id: 'seen',
    header: 'Last seen',
    width: '112px',
    sort: row => row.lastSeenAt?.getTime(),
    cell: row => <Time ago value={row.lastSeenAt} none="never" />,
  },
  { id: 'version', header: 'Version', width: '110px', from: 'wide', cell: row => <Maybe value={row.buildVersion} /> },
  { id: 'created', header: 'Created', width: '118px', from: 'wide', cell: row => <Time value={row.createdAt} /> },
  { id: 'actions', header: '', width: '96px', narrow: '84px', cell: row => <Revoke row={row} /> },
]

/** The keys of remote daemons. */
export function DaemonKeys() {
  const { data, error, refetch } = useQuery(daemonKeysQuery())
  return (
    <DataTable
      label="Keys of daemons"
      columns={columns}
      rows={data}
      rowKey={row => row.id}
      error={error}
      retry={refetch}
      empty={
        <Empty icon="key" title="No keys of daemons">
          <p>A daemon on another machine needs a key of its own. The daemon in this server needs none.</p>
          <NewDaemonKeyButton />
        </Empty>
      }
    />
  )
}

function Revoke({ row }: { row: DaemonKey }) {
  const revoke = useRevokeDaemonKey()
  if (row.revokedAt) return null
  return (
    <div className="tbl-actions">
      <ConfirmButton
        label="Revoke"
        title={`Revoke the key ${row.name ?? row.id}?`}
        confirm="Revoke the key"
        onConfirm={() => revoke.mutate(row.id)}
      >
        The daemons with this key are disconnected, and take no more requests. This cannot be undone.
      </ConfirmButton>
    </div>
  )
}
