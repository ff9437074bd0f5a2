/** One request with all its records. */
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useEffect } from 'react'
import type { InterceptionDetail, TokenUsage } from '../../../../shared/contract/admin/interceptions.js'
import { isNotFound } from '../../data/errors.js'
import { interceptionQuery } from '../../data/interceptions.js'
import { useSession } from '../../data/session.js'
import { watchRecords } from '../../data/watch.js'
import { Link } from '../../navigation/link.js'
import { withSearch } from '../../navigation/location.js'
import type { ViewProps } from '../../navigation/view.js'
import { Content } from '../../parts/content.js'
import { formatDuration } from '../../parts/format.js'
import { Facts, Figures, Page, Panel } from '../../parts/page.js'
import { Empty, Failed, Loading } from '../../parts/states.js'
import { Cost, Count, Maybe, Time } from '../../parts/values.js'
import './interceptions.css'
import { Outcome } from './outcome.js'
import { Prompts, Steps, Tokens } from './records.js'
import { ThreadTree } from './thread-tree.js'

const back = { href: '/interceptions', label: 'Requests' }

/** The view. */
export default function InterceptionView({ params }: ViewProps) {
  const id = params.id ?? ''
  const { data, error, refetch } = useQuery(interceptionQuery(id))
  useRefresh(id)
  if (data) return <Detail detail={data} />
  return (
    <Page title="Request" back={back}>
      {error === null ? (
        <Loading />
      ) : isNotFound(error) ? (
        <Empty icon="search" title="There is no such request">
          <p>It may have been erased, or the link is wrong.</p>
        </Empty>
      ) : (
        <Failed error={error} retry={() => void refetch()} />
      )}
    </Page>
  )
}

/** Reads the request again when another of its records is stored. */
function useRefresh(id: string): void {
  const queries = useQueryClient()
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined
    const stop = watchRecords(event => {
      if (event.kind === 'watching') return
      const { record } = event
      const owner = 'interceptionId' in record ? record.interceptionId : record.id
      const isOfThread = 'rootId' in record && record.rootId !== null
      if (owner !== id && !owner.endsWith(id) && !isOfThread) return
      timer ??= setTimeout(() => {
        timer = undefined
        void queries.invalidateQueries({ queryKey: interceptionQuery(id).queryKey })
      }, 150)
    })
    return () => {
      clearTimeout(timer)
      stop()
    }
  }, [id, queries])
}

function Detail({ detail }: { detail: InterceptionDetail }) {
  const { interception: row, thread, tokenUsages, promptUsages, toolUsages, modelThoughts } = detail
  return (
    <Page title={row.model} back={back} beside={<Outcome row={row} />}>
      <Totals detail={detail} />
      {row.errorType && row.errorMessage && <p className="failure">{row.errorMessage}</p>}
      <div className="detail">
        <div className="detail-main">
          <Prompts prompts={promptUsages} />
          <Steps tools={toolUsages} thoughts={modelThoughts} />
          <Tokens usages={tokenUsages} />
        </div>
        <div className="detail-side">
          {thread.length > 1 && (
            <Panel title={`Thread of ${thread.length} requests`}>
              <ThreadTree thread={thread} current={row.id} />
            </Panel>
          )}
          <Panel title="About">
            <About detail={detail} />
          </Panel>
          {row.metadata && (
            <Panel title="Metadata">
              <Content code text={JSON.stringify(row.metadata, null, 2)} label="Metadata" />
            </Panel>
          )}
        </div>
      </div>
    </Page>
  )
}

const sum = (
  usages: readonly TokenUsage[],
  field: 'inputTokens' | 'outputTokens' | 'cacheReadInputTokens' | 'cacheWriteInputTokens',
) => usages.reduce((total, usage) => total + usage[field], 0)

function Totals({ detail: { interception: row, tokenUsages } }: { detail: InterceptionDetail }) {
  const end = row.endedAt ?? new Date()
  return (
    <Figures
      items={[
        ['Input', <Count key="v" value={sum(tokenUsages, 'inputTokens')} />, 'tokens'],
        ['Cache read', <Count key="v" value={sum(tokenUsages, 'cacheReadInputTokens')} />, 'tokens'],
        ['Cache write', <Count key="v" value={sum(tokenUsages, 'cacheWriteInputTokens')} />, 'tokens'],
        ['Output', <Count key="v" value={sum(tokenUsages, 'outputTokens')} />, 'tokens'],
        [
          'Cost',
          <Cost key="v" nanos={row.costNanos} unpriced={row.unpricedRecords} />,
          tokenUsages.some(usage => usage.costEstimated) ? 'estimated' : 'US dollars',
        ],
        [
          'Duration',
          formatDuration(end.getTime() - row.startedAt.getTime()),
          row.endedAt ? 'from request to end' : 'so far',
        ],
      ]}
    />
  )
}

function About({ detail: { interception: row } }: { detail: InterceptionDetail }) {
  const { role } = useSession()
  return (
    <Facts
      items={[
        role === 'admin' && [
          'User',
          row.username ? (
            <Link key="v" href={`/users/${row.username}`}>
              {row.username}
            </Link>
          ) : (
            <Maybe key="v" value={null} none="deleted" />
          ),
        ],
        ['Provider', `${row.providerName}${row.provider === row.providerName ? '' : ` (${row.provider})`}`],
        ['Client', <Maybe key="v" value={row.client} />],
        row.clientSessionId !== null && [
          'Session',
          <Link key="v" href={withSearch('/interceptions', { session: row.clientSessionId })}>
            {row.clientSessionId}
          </Link>,
        ],
        ['Started', <Time key="v" value={row.startedAt} />],
        ['Ended', <Time key="v" value={row.endedAt} none="still running" />],
        ['Key of the client', <code key="v">{row.apiKeyId}</code>],
        [
          'Key of the provider',
          <>
            {row.credentialKind === 'byok' ? 'the client’s own' : 'the gateway’s'} <code>{row.credentialHint}</code>
          </>,
        ],
        ['Id', <code key="v">{row.id}</code>],
        row.parentId !== null && [
          'Continues',
          <Link key="v" href={`/interceptions/${row.parentId}`}>
            {row.parentId.slice(-12)}
          </Link>,
        ],
        row.userAgent !== null && ['User agent', row.userAgent],
      ]}
    />
  )
}
