/** All providers. */
import { Switch } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import type { ProviderSummary } from '../../../../shared/contract/admin/providers.js'
import { providersQuery, useEnableProvider } from '../../data/providers.js'
import { navigate } from '../../navigation/location.js'
import type { Column } from '../../parts/columns.js'
import { DataTable } from '../../parts/data-table.js'
import { Page } from '../../parts/page.js'
import { Empty } from '../../parts/states.js'
import { NewProviderButton } from './new-provider.js'
import { ProviderState } from './provider-state.js'

const columns: Column<ProviderSummary>[] = [
  { id: 'name', header: 'Name', width: '18%', narrow: '34%', sort: row => row.name, cell: row => row.name },
  { id: 'state', header: 'State', width: '190px', narrow: '128px', cell: row => <ProviderState provider={row} /> },
  { id: 'type', header: 'API', width: '110px', from: 'medium', sort: row => row.type, cell: row => row.type },
  { id: 'url', header: 'Base URL', from: 'medium', cell: row => <span title={row.baseUrl}>{row.baseUrl}</span> },
  {
    id: 'keys',
    header: 'Keys',
    width: '70px',
    align: 'right',
    sort: row => row.keys.length,
    cell: row => row.keys.length,
  },
  { id: 'enabled', header: 'Enabled', width: '86px', narrow: '74px', cell: row => <Enabled provider={row} /> },
]

const hrefOf = (row: ProviderSummary): string => `/providers/${encodeURIComponent(row.name)}`

/** The view. */
export default function Providers() {
  const { data, error, refetch } = useQuery(providersQuery())
  const added = (name: string): void => navigate(`/providers/${encodeURIComponent(name)}`)
  return (
    <Page fills title="Providers" actions={<NewProviderButton onDone={added} />}>
      <DataTable
        label="Providers"
        columns={columns}
        rows={data}
        rowKey={row => row.name}
        rowHref={hrefOf}
        error={error}
        retry={refetch}
        empty={
          <Empty icon="cloud" title="No providers">
            <p>A provider is a service with an AI API, with the keys that the gateway uses there.</p>
            <NewProviderButton onDone={added} />
          </Empty>
        }
      />
    </Page>
  )
}

function Enabled({ provider: { name, enabled } }: { provider: ProviderSummary }) {
  const enable = useEnableProvider()
  return (
    <Switch
      aria-label={`${name} is enabled`}
      checked={enabled}
      disabled={enable.isPending}
      onChange={event => enable.mutate({ name, enabled: event.currentTarget.checked })}
    />
  )
}
