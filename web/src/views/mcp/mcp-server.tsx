/** One MCP server: test as a user, users' links, settings. */
import { Button, NativeSelect } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import type { ExternalAuthLink } from '../../../../shared/contract/admin/external-auth-links.js'
import type { McpServer, McpServerTest } from '../../../../shared/contract/admin/mcp-servers.js'
import {
  mcpLinksQuery,
  mcpServersQuery,
  useRemoveMcpLink,
  useRemoveMcpServer,
  useTestMcpServer,
} from '../../data/mcp-servers.js'
import { usersQuery } from '../../data/users.js'
import { navigate } from '../../navigation/location.js'
import type { ViewProps } from '../../navigation/view.js'
import type { Column } from '../../parts/columns.js'
import { ConfirmButton } from '../../parts/confirm.js'
import { DataTable } from '../../parts/data-table.js'
import { Dialog } from '../../parts/dialog.js'
import { Facts, Page, Panel } from '../../parts/page.js'
import { Empty, Failed, Loading } from '../../parts/states.js'
import { Status } from '../../parts/status.js'
import { Maybe, Time } from '../../parts/values.js'
import { McpServerForm } from './mcp-form.js'

const back = { href: '/mcp-servers', label: 'MCP servers' }

/** The view. */
export default function McpServerView({ params }: ViewProps) {
  const { data, error, refetch } = useQuery(mcpServersQuery())
  const server = data?.find(({ id }) => id === params.id)
  if (server) return <Detail server={server} />
  return (
    <Page title={params.id ?? ''} back={back}>
      {error ? (
        <Failed error={error} retry={() => void refetch()} />
      ) : data ? (
        <Empty icon="search" title="There is no such MCP server" />
      ) : (
        <Loading />
      )}
    </Page>
  )
}

function Detail({ server }: { server: McpServer }) {
  const [isEdited, setEdited] = useState(false)
  const remove = useRemoveMcpServer(() => navigate('/mcp-servers'))
  return (
    <Page
      title={server.id}
      back={back}
      actions={
        <>
          <Button variant="default" onClick={() => setEdited(true)}>
            Edit
          </Button>
          <ConfirmButton
            label="Remove"
            title={`Remove ${server.id}?`}
            confirm="Remove the server"
            onConfirm={() => remove.mutate(server.id)}
          >
            The server and all users’ links to it are removed. This cannot be undone.
          </ConfirmButton>
        </>
      }
    >
      <TestPanel server={server} />
      <Links server={server} />
      <Panel title="About">
        <Facts
          items={[
            ['URL', server.url],
            ['Offered to models', server.inject ? 'yes' : 'no'],
            ['Allowed tools', <Maybe key="v" value={server.toolAllowRegex} none="all" />],
            ['Denied tools', <Maybe key="v" value={server.toolDenyRegex} none="none" />],
            ['Token URL', <Maybe key="v" value={server.tokenUrl} none="none" />],
            ['Client id', <Maybe key="v" value={server.clientId} none="none" />],
            ['Changed', <Time key="v" value={server.updatedAt} />],
          ]}
        />
      </Panel>
      <Dialog title={`Edit ${server.id}`} opened={isEdited} onClose={() => setEdited(false)}>
        <McpServerForm server={server} onClose={() => setEdited(false)} onDone={() => setEdited(false)} />
      </Dialog>
    </Page>
  )
}

function TestPanel({ server }: { server: McpServer }) {
  const users = useQuery(usersQuery())
  const active = users.data?.filter(user => !user.deletedAt && !user.isSystem) ?? []
  const [user, setUser] = useState('')
  const test = useTestMcpServer()
  const chosen = user || (active[0]?.username ?? '')
  return (
    <Panel
      title="Tools"
      actions={
        <>
          <NativeSelect
            aria-label="As the user"
            data={active.map(({ username }) => username)}
            value={chosen}
            onChange={event => setUser(event.currentTarget.value)}
          />
          <Button
            variant="default"
            loading={test.isPending}
            disabled={chosen === ''}
            onClick={() => test.mutate({ id: server.id, user: chosen })}
          >
            List the tools
          </Button>
        </>
      }
    >
      {test.data ? (
        <TestResult test={test.data} />
      ) : (
        <p className="dim">The list is read with a user’s token, as the gateway does it.</p>
      )}
    </Panel>
  )
}

function TestResult({ test }: { test: McpServerTest }) {
  if (!test.ok) return <Status tone="bad">{test.message}</Status>
  if (test.tools.length === 0) return <p>The server has no tools.</p>
  return (
    <dl className="facts">
      {test.tools.map(({ name, description, offered }) => (
        <div key={name} className="fact">
          <dt>
            <code>{name}</code> {!offered && <span className="dim">(not offered)</span>}
          </dt>
          <dd>{description}</dd>
        </div>
      ))}
    </dl>
  )
}

const linkColumns: Column<ExternalAuthLink>[] = [
  { id: 'user', header: 'User', sort: row => row.username, cell: row => <Maybe value={row.username} none="unknown" /> },
  {
    id: 'expires',
    header: 'Token expires',
    width: '140px',
    cell: row => <Time ago value={row.expiresAt} none="never" />,
  },
  {
    id: 'refresh',
    header: 'Refreshed',
    width: '110px',
    from: 'medium',
    cell: row => (row.hasRefreshToken ? 'yes' : 'no'),
  },
  { id: 'actions', header: '', width: '100px', cell: row => <RemoveLink link={row} /> },
]

function Links({ server }: { server: McpServer }) {
  const { data, error, refetch } = useQuery(mcpLinksQuery())
  return (
    <Panel title="Users’ tokens" flush>
      <DataTable
        inline
        label="Users’ tokens"
        columns={linkColumns}
        rows={data?.filter(({ serverId }) => serverId === server.id)}
        rowKey={row => row.userId}
        error={error}
        retry={refetch}
        empty={<Empty icon="key" title="No user has a token for this server" />}
      />
    </Panel>
  )
}

function RemoveLink({ link }: { link: ExternalAuthLink }) {
  const remove = useRemoveMcpLink()
  return (
    <div className="tbl-actions">
      <ConfirmButton
        label="Remove"
        title={`Remove the token of ${link.username ?? link.userId}?`}
        confirm="Remove the token"
        onConfirm={() => remove.mutate({ user: link.userId, serverId: link.serverId })}
      >
        The user gets no tools of this server until the token is set again.
      </ConfirmButton>
    </div>
  )
}
