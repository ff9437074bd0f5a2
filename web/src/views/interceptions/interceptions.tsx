/** The live list of requests. */
import { Button } from '@mantine/core'
import { useMemo, useState } from 'react'
import type { Interception } from '../../../../shared/contract/admin/interceptions.js'
import type { ErrorType } from '../../../../shared/contract/recorder.js'
import { useConnectionState } from '../../data/client.js'
import { type InterceptionFilters, useLiveInterceptions } from '../../data/interceptions.js'
import { useSession } from '../../data/session.js'
import { Link } from '../../navigation/link.js'
import { type Search, useSearch } from '../../navigation/location.js'
import { DataTable } from '../../parts/data-table.js'
import { ClearFilters, SelectFilter, TextFilter } from '../../parts/filters.js'
import { Page } from '../../parts/page.js'
import { Empty } from '../../parts/states.js'
import { Status } from '../../parts/status.js'
import { interceptionColumns } from './columns.js'
import './interceptions.css'
import { errorLabels } from './outcome.js'

const names = ['user', 'provider', 'model', 'client', 'session', 'error', 'kind', 'period'] as const

const periods = [
  { value: '1h', label: 'Last hour', ms: 3_600_000 },
  { value: '24h', label: 'Last 24 hours', ms: 86_400_000 },
  { value: '7d', label: 'Last 7 days', ms: 604_800_000 },
  { value: '30d', label: 'Last 30 days', ms: 2_592_000_000 },
]

function isErrorType(value: string | undefined): value is ErrorType {
  return value !== undefined && Object.hasOwn(errorLabels, value)
}

/** Returns the filters of the address bar as the server takes them. Times are whole minutes. */
function filtersOf(search: Search): InterceptionFilters {
  const { user, provider, model, client, session, error, kind } = search
  const period = periods.find(({ value }) => value === search.period)
  return {
    ...(user && { user }),
    ...(provider && { provider }),
    ...(model && { model }),
    ...(client && { client }),
    ...(session && { clientSessionId: session }),
    ...(isErrorType(error) && { errorType: error }),
    ...((kind === 'mcp' || kind === 'model') && { interceptionKind: kind }),
    ...(kind === 'people' && { excludeInternal: true }),
    ...(period && { from: new Date(Math.floor((Date.now() - period.ms) / 60_000) * 60_000) }),
  }
}

const keyOf = (row: Interception): string => row.id
const hrefOf = (row: Interception): string => `/interceptions/${row.id}`

/** The view. */
export default function Interceptions() {
  const { role } = useSession()
  const [search] = useSearch()
  const [isAtTop, setAtTop] = useState(true)
  const filters = useMemo(() => filtersOf(search), [search])
  const { query, rows, waiting, fresh, release } = useLiveInterceptions(filters, !isAtTop)
  const columns = useMemo(() => interceptionColumns(role === 'user'), [role])
  const isFiltered = names.some(name => search[name])
  return (
    <Page
      fills
      title="Requests"
      beside={<Live />}
      filters={
        <>
          {role === 'admin' && <TextFilter name="user" label="User" width={92} />}
          <TextFilter name="model" label="Model" width={124} />
          <TextFilter name="provider" label="Provider" width={100} />
          <TextFilter name="client" label="Client" width={94} />
          <SelectFilter
            name="error"
            label="Outcome"
            all="Any outcome"
            options={Object.entries(errorLabels).map(([value, label]) => ({ value, label }))}
          />
          <SelectFilter name="period" label="Period" all="All time" options={periods} />
          <SelectFilter
            name="kind"
            label="Kind"
            all="Any kind"
            options={[
              { value: 'people', label: 'Without clients’ own' },
              { value: 'model', label: 'Models only' },
              { value: 'mcp', label: 'Tools only' },
            ]}
          />
          <ClearFilters names={names} />
        </>
      }
    >
      {waiting > 0 && (
        <div className="new-rows" role="status">
          <Button
            onClick={() => {
              release()
              document.querySelector('.tbl')?.scrollTo({ top: 0 })
            }}
          >
            {waiting} new {waiting === 1 ? 'request' : 'requests'}
          </Button>
        </div>
      )}
      <DataTable
        label="Requests"
        columns={columns}
        rows={rows}
        rowKey={keyOf}
        rowHref={hrefOf}
        error={query.error}
        retry={query.refetch}
        onMore={query.hasNextPage && !query.isFetchingNextPage ? query.fetchNextPage : undefined}
        isFresh={row => fresh.has(row.id)}
        onTop={setAtTop}
        empty={
          isFiltered ? (
            <Empty icon="search" title="No request fits these filters">
              <ClearFilters names={names} />
            </Empty>
          ) : (
            <Empty icon="activity" title="No requests yet">
              <p>Requests appear here as they are made, without a reload.</p>
              {role === 'admin' && <Link href="/start">Make a key and send the first one</Link>}
            </Empty>
          )
        }
      />
    </Page>
  )
}

function Live() {
  const isOpen = useConnectionState() === 'open'
  return (
    <Status tone={isOpen ? 'ok' : 'warn'} busy={isOpen} title="New requests appear as they are stored">
      {isOpen ? 'Live' : 'Not connected'}
    </Status>
  )
}
