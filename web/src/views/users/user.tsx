/** One user: keys, use, state. */
import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import type { User } from '../../../../shared/contract/admin/users.js'
import { keysQuery } from '../../data/keys.js'
import { usageQuery } from '../../data/usage.js'
import { useDeleteUser, usePurgeUser, usersQuery, useSetStatus } from '../../data/users.js'
import { Link } from '../../navigation/link.js'
import { navigate, withSearch } from '../../navigation/location.js'
import type { ViewProps } from '../../navigation/view.js'
import { ConfirmButton } from '../../parts/confirm.js'
import { DataTable } from '../../parts/data-table.js'
import { Facts, Figures, Page, Panel } from '../../parts/page.js'
import { Empty, Failed, Loading } from '../../parts/states.js'
import { Cost, Count, Time } from '../../parts/values.js'
import { keyColumns } from '../keys/key-columns.js'
import { NewKeyButton } from '../keys/new-key.js'
import { UserState } from './user-state.js'

const back = { href: '/users', label: 'Users' }
const columns = keyColumns(false)

/** The view. */
export default function UserView({ params }: ViewProps) {
  const { data, error, refetch } = useQuery(usersQuery())
  const user =
    data?.find(one => one.id === params.id) ?? data?.find(one => one.username === params.id && !one.deletedAt)
  if (user) return <Detail user={user} />
  return (
    <Page title={params.id ?? ''} back={back}>
      {error ? (
        <Failed error={error} retry={() => void refetch()} />
      ) : data ? (
        <Empty icon="search" title="There is no such user" />
      ) : (
        <Loading />
      )}
    </Page>
  )
}

function Detail({ user }: { user: User }) {
  const keys = useQuery(keysQuery(user.id))
  return (
    <Page
      title={user.username}
      back={back}
      beside={<UserState user={user} />}
      actions={!user.isSystem && <Actions user={user} />}
    >
      <Use user={user} />
      <Panel
        title="Keys"
        flush
        actions={
          !user.deletedAt &&
          !user.isSystem &&
          user.status === 'active' && <NewKeyButton user={user.id} variant="default" />
        }
      >
        <DataTable
          inline
          label="Keys"
          columns={columns}
          rows={keys.data}
          rowKey={row => row.id}
          error={keys.error}
          retry={keys.refetch}
          empty={<Empty icon="key" title="No keys" />}
        />
      </Panel>
      <Panel title="About">
        <Facts
          items={[
            ['Id', <code key="v">{user.id}</code>],
            ['Created', <Time key="v" value={user.createdAt} />],
            user.deletedAt && ['Deleted', <Time key="v" value={user.deletedAt} />],
          ]}
        />
      </Panel>
    </Page>
  )
}

/** The use of the last 30 days, with the ways to the requests behind it. */
function Use({ user }: { user: User }) {
  const day = Math.floor(Date.now() / 86_400_000) * 86_400_000
  const { data } = useQuery(usageQuery({ by: [], user: user.id, from: new Date(day - 29 * 86_400_000) }))
  const row = data?.rows[0]
  return (
    <Panel
      title="Last 30 days"
      actions={
        <>
          <Link href={withSearch('/interceptions', { user: user.username })}>Requests</Link>
          <Link href={withSearch('/usage', { user: user.username })}>Usage and cost</Link>
          <Link href={withSearch('/audit', { target: user.id })}>Audit log</Link>
        </>
      }
    >
      <Figures
        items={[
          ['Cost', <Cost key="v" nanos={row?.costNanos ?? null} unpriced={row?.unpricedRecords ?? 0} />],
          ['Requests', <Count key="v" short value={row?.interceptions ?? 0} />],
          ['Input', <Count key="v" short value={row?.inputTokens ?? 0} />, 'tokens'],
          ['Cache read', <Count key="v" short value={row?.cacheReadInputTokens ?? 0} />, 'tokens'],
          ['Output', <Count key="v" short value={row?.outputTokens ?? 0} />, 'tokens'],
        ]}
      />
    </Panel>
  )
}

function Actions({ user }: { user: User }) {
  const setStatus = useSetStatus()
  const leave = () => navigate('/users')
  const remove = useDeleteUser(leave)
  const purge = usePurgeUser(leave)
  return (
    <>
      {!user.deletedAt &&
        (user.status === 'suspended' ? (
          <Button variant="default" onClick={() => setStatus.mutate({ user: user.id, status: 'active' })}>
            Make active
          </Button>
        ) : (
          <ConfirmButton
            label="Suspend"
            title={`Suspend ${user.username}?`}
            confirm="Suspend the user"
            onConfirm={() => setStatus.mutate({ user: user.id, status: 'suspended' })}
          >
            All keys of the user are rejected until the user is made active again.
          </ConfirmButton>
        ))}
      {!user.deletedAt && (
        <ConfirmButton
          label="Delete"
          title={`Delete ${user.username}?`}
          confirm="Delete the user"
          onConfirm={() => remove.mutate(user.id)}
        >
          The keys of the user stop working. The records stay, and the name is free for a new user. This cannot be
          undone.
        </ConfirmButton>
      )}
      <ConfirmButton
        label="Erase"
        title={`Erase ${user.username} and all records?`}
        confirm="Erase everything"
        onConfirm={() => purge.mutate(user.id)}
        disabled={purge.isPending}
      >
        The user, the keys, the chats and every recorded request are erased, on the daemons too. This cannot be undone.
      </ConfirmButton>
    </>
  )
}
