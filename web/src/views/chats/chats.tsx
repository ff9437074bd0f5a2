/** All chats, live. */
import { useInfiniteQuery } from '@tanstack/react-query'
import { useMemo } from 'react'
import type { ChatList } from '../../../../shared/contract/chats.js'
import { chatsQuery, useLiveChats } from '../../data/chats.js'
import { useSession } from '../../data/session.js'
import { useSearch } from '../../navigation/location.js'
import type { Column } from '../../parts/columns.js'
import { DataTable } from '../../parts/data-table.js'
import { SelectFilter, TextFilter } from '../../parts/filters.js'
import { Page } from '../../parts/page.js'
import { Empty } from '../../parts/states.js'
import { Maybe, Time } from '../../parts/values.js'
import { ChatStatus } from './chat-status.js'
import { NewChatButton } from './new-chat.js'

type Row = ChatList['chats'][number]

function columnsOf(withUser: boolean): Column<Row>[] {
  const columns: (Column<Row> | false)[] = [
    { id: 'title', header: 'Title', cell: row => <Maybe value={row.title} none="without a title" /> },
    withUser && {
      id: 'user',
      header: 'User',
      width: '15%',
      narrow: '22%',
      cell: row => <Maybe value={row.username} none="deleted" />,
    },
    { id: 'status', header: 'State', width: '110px', narrow: '96px', cell: row => <ChatStatus status={row.status} /> },
    { id: 'model', header: 'Model', width: '20%', from: 'medium', cell: row => row.model },
    { id: 'provider', header: 'Provider', width: '12%', from: 'wide', cell: row => row.provider },
    { id: 'updated', header: 'Changed', width: '118px', from: 'medium', cell: row => <Time value={row.updatedAt} /> },
  ]
  return columns.filter(column => column !== false)
}

const keyOf = (row: Row): string => row.id
const hrefOf = (row: Row): string => `/chats/${row.id}`

/** The view. */
export default function Chats() {
  const { role } = useSession()
  const [search] = useSearch()
  const query = useInfiniteQuery(
    chatsQuery({ ...(search.user && { user: search.user }), ...(search.archived === 'true' && { archived: true }) }),
  )
  useLiveChats()
  const columns = useMemo(() => columnsOf(role === 'admin'), [role])
  const rows = query.data?.pages.flatMap(({ chats }) => chats)
  return (
    <Page
      fills
      title="Chats"
      actions={role === 'user' && <NewChatButton />}
      filters={
        <>
          {role === 'admin' && <TextFilter name="user" label="User" width={140} />}
          <SelectFilter
            name="archived"
            label="Archive"
            all="Not archived"
            options={[{ value: 'true', label: 'Archived' }]}
          />
        </>
      }
    >
      <DataTable
        label="Chats"
        columns={columns}
        rows={rows}
        rowKey={keyOf}
        rowHref={hrefOf}
        error={query.error}
        retry={query.refetch}
        onMore={query.hasNextPage && !query.isFetchingNextPage ? query.fetchNextPage : undefined}
        empty={
          <Empty icon="chat" title="No chats">
            <p>A chat is a conversation with a model that runs on the server, and goes on when this page is closed.</p>
            {role === 'user' && <NewChatButton />}
          </Empty>
        }
      />
    </Page>
  )
}
