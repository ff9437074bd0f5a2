/** All MCP servers. */
import { useQuery } from '@tanstack/react-query'
import type { McpServer } from '../../../../shared/contract/admin/mcp-servers.js'
import { mcpServersQuery } from '../../data/mcp-servers.js'
import { navigate } from '../../navigation/location.js'
import type { Column } from '../../parts/columns.js'
import { DataTable } from '../../parts/data-table.js'
import { Page } from '../../parts/page.js'
import { Empty } from '../../parts/states.js'
import { Status } from '../../parts/status.js'
import { Maybe, Time } from '../../parts/values.js'
import { NewMcpServerButton } from './mcp-form.js'

const columns: Column<McpServer>[] = [
  { id: 'id', header: 'Id', width: '18%', narrow: '34%', sort: row => row.id, cell: row => row.id },
  { id: 'url', header: 'URL', cell: row => <span title={row.url}>{row.url}</span> },
  {
    id: 'inject',
    header: 'Tools',
    width: '150px',
    narrow: '120px',
    cell: row =>
      row.inject ? <Status tone="ok">Offered to models</Status> : <Status tone="plain">For MCP clients</Status>,
  },
  {
    id: 'allow',
    header: 'Allowed',
    width: '14%',
    from: 'wide',
    cell: row => <Maybe value={row.toolAllowRegex} none="all" />,
  },
  {
    id: 'deny',
    header: 'Denied',
    width: '14%',
    from: 'wide',
    cell: row => <Maybe value={row.toolDenyRegex} none="none" />,
  },
  { id: 'updated', header: 'Changed', width: '118px', from: 'medium', cell: row => <Time value={row.updatedAt} /> },
]

const hrefOf = (row: McpServer): string => `/mcp-servers/${encodeURIComponent(row.id)}`

/** The view. */
export default function McpServers() {
  const { data, error, refetch } = useQuery(mcpServersQuery())
  const added = (id: string) => navigate(`/mcp-servers/${encodeURIComponent(id)}`)
  return (
    <Page fills title="MCP servers" actions={<NewMcpServerButton onDone={added} />}>
      <DataTable
        label="MCP servers"
        columns={columns}
        rows={data}
        rowKey={row => row.id}
        rowHref={hrefOf}
        error={error}
        retry={refetch}
        empty={
          <Empty icon="plug" title="No MCP servers">
            <p>The tools of an MCP server may be offered to models, each user with a token of their own.</p>
            <NewMcpServerButton onDone={added} />
          </Empty>
        }
      />
    </Page>
  )
}
