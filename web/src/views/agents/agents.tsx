/** All agents. */
import { useQuery } from '@tanstack/react-query'
import { useMemo } from 'react'
import type { Agent } from '../../../../shared/contract/admin/agents.js'
import { agentsQuery } from '../../data/agents.js'
import { useSearch } from '../../navigation/location.js'
import type { Column } from '../../parts/columns.js'
import { DataTable } from '../../parts/data-table.js'
import { SelectFilter } from '../../parts/filters.js'
import { Page } from '../../parts/page.js'
import { Empty } from '../../parts/states.js'
import { Maybe, Time } from '../../parts/values.js'
import { AgentState } from './agent-state.js'
import { NewAgentButton } from './new-agent.js'

const columns: Column<Agent>[] = [
  { id: 'name', header: 'Name', sort: row => row.name, cell: row => row.name },
  { id: 'state', header: 'State', width: '140px', narrow: '118px', cell: row => <AgentState agent={row} /> },
  {
    id: 'user',
    header: 'User',
    width: '16%',
    narrow: '22%',
    sort: row => row.username,
    cell: row => <Maybe value={row.username} none="purged" />,
  },
  {
    id: 'seen',
    header: 'Last seen',
    width: '120px',
    from: 'medium',
    sort: row => row.lastSeenAt?.getTime(),
    cell: row => <Time ago value={row.lastSeenAt} none="never" />,
  },
  { id: 'version', header: 'Version', width: '110px', from: 'wide', cell: row => <Maybe value={row.buildVersion} /> },
  {
    id: 'created',
    header: 'Created',
    width: '118px',
    from: 'wide',
    sort: row => row.createdAt.getTime(),
    cell: row => <Time value={row.createdAt} />,
  },
]

/** Names of revoked agents may be those of new ones. */
const hrefOf = (row: Agent): string => `/agents/${encodeURIComponent(row.revokedAt ? row.id : row.name)}`

/** The view. */
export default function Agents() {
  const [search] = useSearch()
  const { data, error, refetch } = useQuery(agentsQuery())
  const rows = useMemo(
    () => data?.filter(row => (search.state === 'all' ? true : row.revokedAt === null)),
    [data, search.state],
  )
  return (
    <Page
      fills
      title="Agents"
      actions={<NewAgentButton />}
      filters={<SelectFilter name="state" label="State" all="Not revoked" options={[{ value: 'all', label: 'All' }]} />}
    >
      <DataTable
        label="Agents"
        columns={columns}
        rows={rows}
        rowKey={row => row.id}
        rowHref={hrefOf}
        error={error}
        retry={refetch}
        empty={
          <Empty icon="terminal" title="No agents">
            <p>An agent runs commands on a machine of its own, for operators and for the models of chats.</p>
            <NewAgentButton />
          </Empty>
        }
      />
    </Page>
  )
}
