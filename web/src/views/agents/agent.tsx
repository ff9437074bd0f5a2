/** One agent: its processes and their outputs. */
import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useMemo } from 'react'
import type { Agent } from '../../../../shared/contract/admin/agents.js'
import type { ListedProcess } from '../../../../shared/contract/agents.js'
import { agentsQuery, processesQuery, processOutputQuery, useRevokeAgent, useSignalProcess } from '../../data/agents.js'
import { errorText } from '../../data/errors.js'
import { useSearch, withSearch } from '../../navigation/location.js'
import type { ViewProps } from '../../navigation/view.js'
import type { Column } from '../../parts/columns.js'
import { ConfirmButton } from '../../parts/confirm.js'
import { Content } from '../../parts/content.js'
import { DataTable } from '../../parts/data-table.js'
import { Dialog } from '../../parts/dialog.js'
import { formatDuration } from '../../parts/format.js'
import { Facts, Page, Panel } from '../../parts/page.js'
import { Empty, Failed, Loading } from '../../parts/states.js'
import { Maybe, Time } from '../../parts/values.js'
import { AgentState } from './agent-state.js'
import { ProcessState } from './process-state.js'

const back = { href: '/agents', label: 'Agents' }

/** The view. */
export default function AgentView({ params }: ViewProps) {
  const { data, error, refetch } = useQuery(agentsQuery())
  const agent =
    data?.find(({ id }) => id === params.name) ??
    data?.find(({ name, revokedAt }) => name === params.name && !revokedAt)
  if (agent) return <Detail agent={agent} />
  return (
    <Page title={params.name ?? ''} back={back}>
      {error ? (
        <Failed error={error} retry={() => void refetch()} />
      ) : data ? (
        <Empty icon="search" title="There is no such agent" />
      ) : (
        <Loading />
      )}
    </Page>
  )
}

const columns: Column<ListedProcess>[] = [
  { id: 'command', header: 'Command', cell: row => <code title={row.command}>{row.command}</code> },
  { id: 'state', header: 'State', width: '130px', narrow: '104px', cell: row => <ProcessState process={row} /> },
  { id: 'dir', header: 'Directory', width: '20%', from: 'wide', cell: row => row.dir },
  { id: 'started', header: 'Started', width: '118px', from: 'medium', cell: row => <Time value={row.startedAt} /> },
  { id: 'duration', header: 'Duration', width: '104px', align: 'right', cell: row => formatDuration(row.durationMs) },
]

function Detail({ agent }: { agent: Agent }) {
  const [search, change] = useSearch()
  const { data, error, refetch } = useQuery(processesQuery(agent.id, agent.isConnected))
  const revoke = useRevokeAgent()
  const rowHref = useMemo(() => (row: ListedProcess) => withSearch(window.location.pathname, { process: row.id }), [])
  const chosen = data?.processes.find(({ id }) => id === search.process)
  return (
    <Page
      title={agent.name}
      back={back}
      beside={<AgentState agent={agent} />}
      actions={
        !agent.revokedAt && (
          <ConfirmButton
            label="Revoke"
            title={`Revoke the agent ${agent.name}?`}
            confirm="Revoke the agent"
            onConfirm={() => revoke.mutate(agent.id)}
          >
            The agent is disconnected, and its key stops working. This cannot be undone.
          </ConfirmButton>
        )
      }
    >
      <Panel
        title="Processes"
        beside={data && data.total > data.processes.length && <span className="dim">the newest of {data.total}</span>}
        flush
      >
        {agent.isConnected ? (
          <DataTable
            inline
            label="Processes"
            columns={columns}
            rows={data?.processes}
            rowKey={row => row.id}
            rowHref={rowHref}
            error={error}
            retry={refetch}
            empty={<Empty icon="terminal" title="No commands yet" />}
          />
        ) : (
          <Empty icon="terminal" title="The agent is not connected">
            Its processes are shown when it is back.
          </Empty>
        )}
      </Panel>
      <Panel title="About">
        <Facts
          items={[
            ['User', <Maybe key="v" value={agent.username} none="purged" />],
            ['Last seen', <Time key="v" value={agent.lastSeenAt} none="never" />],
            ['Version', <Maybe key="v" value={agent.buildVersion} />],
            ['Expires', <Time key="v" value={agent.expiresAt} none="never" />],
            ['Created', <Time key="v" value={agent.createdAt} />],
            ['Id', <code key="v">{agent.id}</code>],
            ['Key', <code key="v">{agent.keyId}</code>],
          ]}
        />
      </Panel>
      <Dialog title="Process" opened={search.process !== undefined} onClose={() => change({ process: undefined })} wide>
        {search.process && <Output agent={agent.id} id={search.process} process={chosen} />}
      </Dialog>
    </Page>
  )
}

function Output({ agent, id, process }: { agent: string; id: string; process: ListedProcess | undefined }) {
  const { data, error } = useQuery(processOutputQuery(agent, id))
  const signal = useSignalProcess(agent)
  return (
    <>
      {process && <Content code label="Command" text={process.command} />}
      {data ? (
        <Content code label="Output" text={data.output || '(no output)'} />
      ) : error ? (
        <p>{errorText(error)}</p>
      ) : (
        <Loading rows={3} />
      )}
      {data?.truncated && (
        <p className="dim">{data.truncated.omittedBytes.toLocaleString('en-US')} bytes in the middle are left out.</p>
      )}
      <div className="dialog-actions">
        {data && <ProcessState process={data} />}
        {data?.running && (
          <>
            <Button variant="default" onClick={() => signal.mutate({ id, signal: 'terminate' })}>
              Terminate
            </Button>
            <Button color="red" onClick={() => signal.mutate({ id, signal: 'kill' })}>
              Kill
            </Button>
          </>
        )}
      </div>
    </>
  )
}
