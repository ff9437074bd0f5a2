/** Recorded requests: pages of the list, kept live by the stream of records, and one request with all its records. */
import { infiniteQueryOptions, queryOptions, useInfiniteQuery, useQueryClient } from '@tanstack/react-query'
import { useCallback, useEffect, useMemo, useRef, useState } from 'react'
import type { Interception, InterceptionsPage } from '../../../shared/contract/admin/interceptions.js'
import type { InterceptionEnd } from '../../../shared/contract/admin/watch.js'
import { isInternalRequestKind, requestKindKey } from '../../../shared/contract/request-kinds.js'
import { type Reads, reads } from './own.js'
import { watchRecords } from './watch.js'

type ListInput = NonNullable<Parameters<Reads['interceptions']['list']['query']>[0]>

/** Filters of the list, as in the address bar. */
export type InterceptionFilters = Omit<ListInput, 'cursor' | 'limit'>

const pageSize = 100

/** The pages of the list with these filters, newest first. */
export const interceptionsQuery = (filters: InterceptionFilters) =>
  infiniteQueryOptions({
    queryKey: ['interceptions', filters],
    queryFn: ({ pageParam, signal }) =>
      reads().interceptions.list.query(
        { ...filters, limit: pageSize, ...(pageParam !== undefined && { cursor: pageParam }) },
        { signal },
      ),
    initialPageParam: undefined as string | undefined, // the type of all later ones
    getNextPageParam: page => page.nextCursor ?? undefined,
    // Arrivals while the list was not open are in no page of the cache.
    staleTime: 0,
  })

/** One request with all its records. A request without an end is read again, until it has one. */
export const interceptionQuery = (id: string) =>
  queryOptions({
    queryKey: ['interception', id],
    queryFn: ({ signal }) => reads().interceptions.get.query({ id }, { signal }),
  })

/** Rows that arrived live and are kept beside the pages; with more of them the pages are read again. */
const maxLiveRows = 1_000

/** Time between two reads for the costs of new rows, which stand in the rows and in no event. */
const costsEveryMs = 2_000

/** What has arrived since the list was opened: it counts beside pages that were read before. */
interface Live {
  rows: readonly Interception[]
  ends: ReadonlyMap<string, InterceptionEnd>
}

const nothing: Live = { rows: [], ends: new Map() }

/**
 * The list, with new requests on top as they are stored. Arrivals stand beside the pages, so that a page that was read
 * before an arrival and comes after it hides nothing.
 * @param isHeld new rows wait, since the reader has scrolled down; `release` shows them
 */
export function useLiveInterceptions(filters: InterceptionFilters, isHeld: boolean) {
  const { queryKey } = interceptionsQuery(filters)
  const query = useInfiniteQuery(interceptionsQuery(filters))
  const queries = useQueryClient()
  const [live, setLive] = useState(nothing)
  const [waiting, setWaiting] = useState(0)
  const [fresh, setFresh] = useState<ReadonlySet<string>>(new Set())
  const queue = useRef<Interception[]>([])
  const held = useRef(isHeld)
  held.current = isHeld
  const current = useRef({ filters, queryKey })
  current.current = { filters, queryKey }

  const release = useCallback(() => {
    const arrived = queue.current.splice(0)
    setWaiting(0)
    if (arrived.length === 0) return
    setFresh(new Set(arrived.map(({ id }) => id)))
    setLive(({ rows, ends }) => ({ rows: [...arrived.reverse(), ...rows].slice(0, 2 * maxLiveRows), ends }))
  }, [])

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined
    const arrivedEnds = new Map<string, InterceptionEnd>()
    const flush = (): void => {
      timer = undefined
      if (arrivedEnds.size > 0) {
        const added = [...arrivedEnds]
        setLive(({ rows, ends }) => ({ rows, ends: new Map([...[...ends].slice(-2 * maxLiveRows), ...added]) }))
      }
      arrivedEnds.clear()
      if (held.current) setWaiting(queue.current.length)
      else release()
    }
    let costs: ReturnType<typeof setTimeout> | undefined
    const readCosts = (): void => {
      costs ??= setTimeout(() => {
        costs = undefined
        const read = queries.getQueryData(interceptionsQuery(current.current.filters).queryKey)
        if ((read?.pages.length ?? 0) <= 2) void queries.invalidateQueries({ queryKey: current.current.queryKey })
      }, costsEveryMs)
    }
    const stop = watchRecords(event => {
      if (event.kind === 'watching') void queries.invalidateQueries({ queryKey: ['interceptions'] })
      else if (event.kind === 'interception' && matches(event.record, current.current.filters)) {
        queue.current.push(event.record)
      } else if (event.kind === 'interceptionEnded') arrivedEnds.set(event.record.id, event.record)
      else if (event.kind === 'tokenUsage') return readCosts()
      else return
      timer ??= setTimeout(flush, 120)
    })
    return () => {
      clearTimeout(timer)
      clearTimeout(costs)
      stop()
    }
  }, [queries, release])

  useEffect(() => {
    if (!isHeld) release()
  }, [isHeld, release])

  useEffect(() => {
    if (live.rows.length <= maxLiveRows) return
    void queries.invalidateQueries({ queryKey: current.current.queryKey }).then(() => {
      setLive(({ rows, ends }) => ({ rows: rows.slice(0, maxLiveRows / 2), ends }))
    })
  }, [live.rows.length, queries])

  // Other filters are another list: its first read begins now, and so do its arrivals.
  const key = JSON.stringify(queryKey)
  const lastKey = useRef(key)
  if (lastKey.current !== key) {
    lastKey.current = key
    queue.current = []
    setLive(nothing)
    setWaiting(0)
  }

  const pages = query.data?.pages
  const rows = useMemo(() => pages && joined(pages, live), [pages, live])
  return { query, rows, waiting, fresh, release }
}

/** Returns the rows of the pages and those that have arrived, each once, newest first. */
export function joined(pages: readonly InterceptionsPage[], { rows, ends }: Live): Interception[] {
  const read = pages.flatMap(({ interceptions }) => interceptions)
  const known = new Set(read.map(({ id }) => id))
  // A row behind the last page that was read comes with its own page.
  const oldest = pages.at(-1)?.nextCursor == null ? undefined : read.at(-1)?.startedAt
  const added = rows.filter(({ id, startedAt }) => !known.has(id) && (!oldest || startedAt >= oldest))
  const all = added.length === 0 ? read : [...added, ...read].sort(newestFirst)
  return ends.size === 0 ? all : all.map(row => (ends.has(row.id) ? { ...row, ...ends.get(row.id) } : row))
}

function newestFirst(a: Interception, b: Interception): number {
  return b.startedAt.getTime() - a.startedAt.getTime() || (a.id < b.id ? 1 : -1)
}

/** Returns whether a new row belongs into a list with these filters, as the server would decide. */
export function matches(row: Interception, filters: InterceptionFilters): boolean {
  const { user, provider, model, client, clientSessionId, errorType, interceptionKind, from, to } = filters
  return (
    (user === undefined || row.username === user || row.initiatorId === user) &&
    (provider === undefined || row.providerName === provider || row.provider === provider) &&
    (model === undefined || row.model === model) &&
    (client === undefined || row.client === client) &&
    (clientSessionId === undefined || row.clientSessionId === clientSessionId) &&
    (errorType === undefined || row.errorType === errorType) &&
    (interceptionKind === undefined || row.interceptionKind === interceptionKind) &&
    (from === undefined || row.startedAt >= from) &&
    (to === undefined || row.startedAt < to) &&
    (filters.endedBy === undefined || row.endedBy === filters.endedBy) &&
    !(filters.excludeInternal && isInternalRequestKind(row.metadata?.[requestKindKey]))
  )
}
