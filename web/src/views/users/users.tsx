/** All users. */
import { Button, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { type FormEvent, useMemo, useState } from 'react'
import type { User } from '../../../../shared/contract/admin/users.js'
import { useCreateUser, usersQuery } from '../../data/users.js'
import { navigate, useSearch } from '../../navigation/location.js'
import type { Column } from '../../parts/columns.js'
import { DataTable } from '../../parts/data-table.js'
import { Dialog } from '../../parts/dialog.js'
import { SelectFilter, TextFilter } from '../../parts/filters.js'
import { Page } from '../../parts/page.js'
import { Empty } from '../../parts/states.js'
import { Id, Time } from '../../parts/values.js'
import { UserState } from './user-state.js'

const columns: Column<User>[] = [
  { id: 'name', header: 'Name', sort: row => row.username, cell: row => row.username },
  {
    id: 'state',
    header: 'State',
    width: '140px',
    narrow: '110px',
    sort: row => row.status,
    cell: row => <UserState user={row} />,
  },
  { id: 'id', header: 'Id', width: '160px', from: 'medium', cell: row => <Id value={row.id} /> },
  {
    id: 'created',
    header: 'Created',
    width: '150px',
    narrow: '120px',
    sort: row => row.createdAt.getTime(),
    cell: row => <Time value={row.createdAt} />,
  },
]

/** The view. */
export default function Users() {
  const [search] = useSearch()
  const { data, error, refetch } = useQuery(usersQuery())
  const rows = useMemo(
    () =>
      data?.filter(
        user =>
          (!search.name || user.username.toLowerCase().includes(search.name.toLowerCase())) &&
          (search.state === 'deleted' ? user.deletedAt : !user.deletedAt) &&
          (!search.state || search.state === 'deleted' || user.status === search.state),
      ),
    [data, search.name, search.state],
  )
  return (
    <Page
      fills
      title="Users"
      actions={<NewUserButton />}
      filters={
        <>
          <TextFilter name="name" label="Name" />
          <SelectFilter name="state" label="State" all="Not deleted" options={['active', 'suspended', 'deleted']} />
        </>
      }
    >
      <DataTable
        label="Users"
        columns={columns}
        rows={rows}
        rowKey={row => row.id}
        rowHref={hrefOf}
        error={error}
        retry={refetch}
        empty={
          data?.length ? (
            <Empty icon="search" title="No user fits these filters" />
          ) : (
            <Empty icon="user" title="No users yet">
              <p>A user is a person or a program whose requests are recorded.</p>
              <NewUserButton />
            </Empty>
          )
        }
      />
    </Page>
  )
}

/** Names of deleted users may be those of new ones, so their links have the id. */
const hrefOf = (user: User): string => `/users/${encodeURIComponent(user.deletedAt ? user.id : user.username)}`

function NewUserButton() {
  const [opened, setOpened] = useState(false)
  const [name, setName] = useState('')
  const create = useCreateUser(({ username }) => {
    setOpened(false)
    navigate(`/users/${encodeURIComponent(username)}`)
  })
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    create.mutate(name.trim())
  }
  return (
    <>
      <Button onClick={() => setOpened(true)}>New user</Button>
      <Dialog title="New user" opened={opened} onClose={() => setOpened(false)}>
        <form onSubmit={submit}>
          <TextInput
            label="Name"
            description="Letters, digits and . _ @ -"
            required
            maxLength={64}
            pattern="[A-Za-z0-9][A-Za-z0-9._@\-]*"
            value={name}
            onChange={event => setName(event.currentTarget.value)}
            data-autofocus
          />
          <div className="dialog-actions">
            <Button variant="default" onClick={() => setOpened(false)}>
              Cancel
            </Button>
            <Button type="submit" loading={create.isPending}>
              Create the user
            </Button>
          </div>
        </form>
      </Dialog>
    </>
  )
}
