/** Keys of clients, and of remote daemons. */
import { SegmentedControl } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useMemo } from 'react'
import { keysQuery } from '../../data/keys.js'
import { useSession } from '../../data/session.js'
import { useSearch } from '../../navigation/location.js'
import { DataTable } from '../../parts/data-table.js'
import { TextFilter } from '../../parts/filters.js'
import { Page } from '../../parts/page.js'
import { Empty } from '../../parts/states.js'
import { DaemonKeys } from './daemon-keys.js'
import { keyColumns } from './key-columns.js'
import { NewDaemonKeyButton } from './new-daemon-key.js'
import { NewKeyButton } from './new-key.js'

/** The view. */
export default function Keys() {
  const { role } = useSession()
  const [search, change] = useSearch()
  const isOfDaemons = role === 'admin' && search.of === 'daemons'
  return (
    <Page
      fills
      title="Keys"
      actions={isOfDaemons ? <NewDaemonKeyButton /> : <NewKeyButton />}
      filters={
        role === 'admin' && (
          <>
            <SegmentedControl
              aria-label="Kind of keys"
              value={isOfDaemons ? 'daemons' : ''}
              data={[
                { value: '', label: 'Clients' },
                { value: 'daemons', label: 'Daemons' },
              ]}
              onChange={of => change({ of, user: undefined })}
            />
            {!isOfDaemons && <TextFilter name="user" label="User" />}
          </>
        )
      }
    >
      {isOfDaemons ? <DaemonKeys /> : <ClientKeys user={search.user} />}
    </Page>
  )
}

function ClientKeys({ user }: { user: string | undefined }) {
  const { role } = useSession()
  const { data, error, refetch } = useQuery(keysQuery())
  const columns = useMemo(() => keyColumns(role === 'admin'), [role])
  const rows = useMemo(() => data?.filter(row => !user || row.username?.includes(user)), [data, user])
  return (
    <DataTable
      label="Keys"
      columns={columns}
      rows={rows}
      rowKey={row => row.id}
      error={error}
      retry={refetch}
      empty={
        <Empty icon="key" title={user ? 'No key of such a user' : 'No keys yet'}>
          <p>A client sends its key with every request. The key says whose request it is.</p>
          <NewKeyButton />
        </Empty>
      }
    />
  )
}
