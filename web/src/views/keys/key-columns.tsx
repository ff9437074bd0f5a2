import type { ApiKey } from '../../../../shared/contract/admin/api-keys.js'
import { useExpireKey, useRevokeKey } from '../../data/keys.js'
import { Link } from '../../navigation/link.js'
import type { Column } from '../../parts/columns.js'
import { ConfirmButton } from '../../parts/confirm.js'
import { Maybe, Time } from '../../parts/values.js'
import { KeyState } from './key-state.js'

/** The columns of keys; with the user unless all keys are one user's. */
export function keyColumns(withUser: boolean): Column<ApiKey>[] {
  const columns: (Column<ApiKey> | false)[] = [
    { id: 'name', header: 'Name', sort: row => row.name, cell: row => <Maybe value={row.name} none="no name" /> },
    { id: 'id', header: 'Id', width: '118px', from: 'medium', cell: row => <code>{row.id}</code> },
    withUser && {
      id: 'user',
      header: 'User',
      width: '16%',
      sort: row => row.username,
      cell: row =>
        row.username ? (
          <Link href={`/users/${row.username}`}>{row.username}</Link>
        ) : (
          <Maybe value={null} none="deleted" />
        ),
    },
    {
      id: 'state',
      header: 'State',
      width: '124px',
      narrow: '96px',
      cell: row => <KeyState expiresAt={row.expiresAt} />,
    },
    {
      id: 'used',
      header: 'Last used',
      width: '112px',
      from: 'medium',
      sort: row => row.lastUsedAt?.getTime(),
      cell: row => <Time ago value={row.lastUsedAt} none="never" />,
    },
    {
      id: 'expires',
      header: 'Expires',
      width: '112px',
      from: 'wide',
      sort: row => row.expiresAt?.getTime(),
      cell: row => <Time ago value={row.expiresAt} none="never" />,
    },
    {
      id: 'created',
      header: 'Created',
      width: '118px',
      from: 'wide',
      sort: row => row.createdAt.getTime(),
      cell: row => <Time value={row.createdAt} />,
    },
    { id: 'actions', header: '', width: '168px', narrow: '90px', cell: row => <KeyActions row={row} /> },
  ]
  return columns.filter(column => column !== false)
}

function KeyActions({ row }: { row: ApiKey }) {
  const expire = useExpireKey()
  const revoke = useRevokeKey()
  const label = row.name ?? row.id
  const isActive = !row.expiresAt || row.expiresAt > new Date()
  return (
    <div className="tbl-actions">
      {isActive && (
        <span className="from-medium">
          <ConfirmButton
            label="Expire"
            title={`Let the key ${label} expire?`}
            confirm="Expire the key"
            onConfirm={() => expire.mutate(row.id)}
          >
            Requests with the key are rejected from now on. The key stays in the list.
          </ConfirmButton>
        </span>
      )}
      <ConfirmButton
        label="Revoke"
        title={`Revoke the key ${label}?`}
        confirm="Revoke the key"
        onConfirm={() => revoke.mutate(row.id)}
      >
        Requests with the key are rejected within seconds, and running chats of the key end. The key is removed from the
        list. This cannot be undone.
      </ConfirmButton>
    </div>
  )
}
