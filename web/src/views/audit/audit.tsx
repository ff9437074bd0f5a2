/** The log of operators' writes. */
import { useInfiniteQuery } from '@tanstack/react-query'
import type { AuditAction, AuditRecord } from '../../../../shared/contract/admin/audit.js'
import { type AuditFilters, auditQuery } from '../../data/audit.js'
import { type Search, useSearch, withSearch } from '../../navigation/location.js'
import type { Column } from '../../parts/columns.js'
import { Content } from '../../parts/content.js'
import { DataTable } from '../../parts/data-table.js'
import { Dialog } from '../../parts/dialog.js'
import { ClearFilters, SelectFilter, TextFilter } from '../../parts/filters.js'
import { shortId } from '../../parts/format.js'
import { Facts, Page } from '../../parts/page.js'
import { Empty } from '../../parts/states.js'
import { Maybe, Time } from '../../parts/values.js'

const columns: Column<AuditRecord>[] = [
  { id: 'at', header: 'Time', width: '130px', narrow: '92px', cell: row => <Time value={row.at} /> },
  { id: 'actor', header: 'By', width: '16%', from: 'medium', cell: row => row.actor },
  { id: 'action', header: 'Action', width: '20%', cell: row => <code>{row.action}</code> },
  {
    id: 'target',
    header: 'Target',
    cell: row => (row.target ? <span title={row.target}>{shortId(row.target)}</span> : <Maybe value={null} />),
  },
  { id: 'user', header: 'User', width: '14%', from: 'medium', cell: row => <Maybe value={row.username} /> },
  {
    id: 'details',
    header: 'Details',
    width: '28%',
    from: 'wide',
    cell: row => <span className="dim">{row.details ? JSON.stringify(row.details) : ''}</span>,
  },
]

/** The areas of actions, each with the actions that are known; a newer server may have more. */
const actions: readonly AuditAction[] = [
  'users.create',
  'users.setStatus',
  'users.delete',
  'users.purge',
  'apiKeys.create',
  'apiKeys.expire',
  'apiKeys.delete',
  'daemonKeys.create',
  'daemonKeys.revoke',
  'agents.create',
  'agents.revoke',
  'agents.replaced',
  'agents.start',
  'agents.signal',
  'providers.upsert',
  'providers.setEnabled',
  'providers.remove',
  'providers.test',
  'providers.keys.add',
  'providers.keys.remove',
  'providers.keys.order',
  'providers.keyRejected',
  'prices.set',
  'prices.remove',
  'prices.backfill',
  'mcpServers.upsert',
  'mcpServers.remove',
  'mcpServers.test',
  'externalAuthLinks.set',
  'externalAuthLinks.remove',
  'secrets.rotate',
  'chats.read',
  'chats.list',
]

function filtersOf({ actor, action, target }: Search): AuditFilters {
  const known = actions.find(one => one === action)
  return { ...(actor && { actor }), ...(known && { action: known }), ...(target && { target }) }
}

const keyOf = (row: AuditRecord): string => row.id
const hrefOf = (row: AuditRecord): string => {
  const search = Object.fromEntries(new URLSearchParams(window.location.search))
  return withSearch('/audit', { ...search, entry: row.id })
}

/** The view. */
export default function Audit() {
  const [search, change] = useSearch()
  const query = useInfiniteQuery(auditQuery(filtersOf(search)))
  const rows = query.data?.pages.flatMap(({ entries }) => entries)
  const entry = rows?.find(({ id }) => id === search.entry)
  return (
    <Page
      fills
      title="Audit log"
      filters={
        <>
          <SelectFilter name="action" label="Action" all="Any action" options={actions} />
          <TextFilter name="actor" label="By" width={130} />
          <TextFilter name="target" label="Target" width={200} />
          <ClearFilters names={['action', 'actor', 'target']} />
        </>
      }
    >
      <DataTable
        label="Audit log"
        columns={columns}
        rows={rows}
        rowKey={keyOf}
        rowHref={hrefOf}
        error={query.error}
        retry={query.refetch}
        onMore={query.hasNextPage && !query.isFetchingNextPage ? query.fetchNextPage : undefined}
        empty={
          <Empty icon="list" title="No entries">
            Every write of an operator leaves an entry here.
          </Empty>
        }
      />
      <Dialog
        title={entry?.action ?? 'Entry'}
        opened={entry !== undefined}
        onClose={() => change({ entry: undefined })}
        wide
      >
        {entry && (
          <>
            <Facts
              items={[
                ['Time', <Time key="v" value={entry.at} />],
                ['By', entry.actor],
                ['Target', <Maybe key="v" value={entry.target} />],
                ['User', <Maybe key="v" value={entry.username} />],
              ]}
            />
            {entry.details && <Content code label="Details" text={JSON.stringify(entry.details, null, 2)} />}
          </>
        )}
      </Dialog>
    </Page>
  )
}
