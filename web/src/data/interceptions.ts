/** Recorded requests: pages of the list, kept live by the stream of records, and one request with all its records. */
import {
  type InfiniteData,
  infiniteQueryOptions,
  queryOptions,
  useInfiniteQuery,
  useQueryClient,
} from '@tanstack/react-query'
import { useCallback, useEffect, useRef, useState } from 'react'
import type { Interception, InterceptionsPage } from '../../../shared/contract/admin/interceptions.js'
import type { InterceptionEnd } from '../../../shared/contract/admin/watch.js'
import { isInternalRequestKind, requestKindKey } from '../../../shared/contract/request-kinds.js'
import { api } from './client.js'
import { watchRecords } from './watch.js'

type ListInput = NonNullable<Parameters<ReturnType<typeof api>['admin']['interceptions']['list']['query']>[0]>

/** Filters of the list, as in the address bar. */
export type InterceptionFilters = Omit<ListInput, 'cursor' | 'limit'>

type Pages = InfiniteData<InterceptionsPage, string | undefined>

const pageSize = 100

/** The pages of the list with these filters, newest first. */
export const interceptionsQuery = (filters: InterceptionFilters) =>
  infiniteQueryOptions({
    queryKey: ['interceptions', filters],
    queryFn: ({ pageParam, signal }) =>
      api().admin.interceptions.list.query(
        { ...filters, limit: pageSize, ...(pageParam !== undefined && { cursor: pageParam }) },
        { signal },
      ),
    initialPageParam: undefined as string | undefined, // the type of all later ones
    getNextPageParam: page => page.nextCursor ?? undefined,
  })

/** One request with all its records. A request without an end is read again, until it has one. */
export const interceptionQuery = (id: string) =>
  queryOptions({
    queryKey: ['interception', id],
    queryFn: ({ signal }) => api().admin.interceptions.get.query({ id }, { signal }),
  })

/** Longest first page: more live rows than this, and the list begins anew. */
const maxLiveRows = 2_000

/**
 * The list, with new requests on top as they are stored.
 * @param isHeld new rows wait, since the reader has scrolled down; `release` shows them
 */
export function useLiveInterceptions(filters: InterceptionFilters, isHeld: boolean) {
  const options = interceptionsQuery(filters)
  const query = useInfiniteQuery(options)
  const queries = useQueryClient()
  const key = useRef(options.queryKey)
  key.current = options.queryKey
  const held = useRef(isHeld)
  held.current = isHeld
  const given = useRef(filters)
  given.current = filters
  const queue = useRef<Interception[]>([])
  const [waiting, setWaiting] = useState(0)
  const [fresh, setFresh] = useState<ReadonlySet<string>>(new Set())

  const release = useCallback(() => {
    const rows = queue.current.splice(0)
    setWaiting(0)
    if (rows.length === 0) return
    setFresh(new Set(rows.map(({ id }) => id)))
    queries.setQueryData<Pages>(key.current, pages => pages && withRows(pages, rows))
  }, [queries])

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined
    const ends = new Map<string, InterceptionEnd>()
    const flush = (): void => {
      timer = undefined
      if (held.current) setWaiting(queue.current.length)
      else release()
      if (ends.size > 0) queries.setQueryData<Pages>(key.current, pages => pages && withEnds(pages, ends))
      ends.clear()
      const first = queries.getQueryData<Pages>(key.current)?.pages[0]
      if ((first?.interceptions.length ?? 0) > maxLiveRows) void queries.resetQueries({ queryKey: key.current })
    }
    const stop = watchRecords(event => {
      if (event.kind === 'watching') void queries.invalidateQueries({ queryKey: ['interceptions'] })
      else if (event.kind === 'interception' && matches(event.record, given.current)) queue.current.push(event.record)
      else if (event.kind === 'interceptionEnded') {
        ends.set(event.record.id, event.record)
        queue.current = queue.current.map(row => (row.id === event.record.id ? { ...row, ...event.record } : row))
      } else return
      timer ??= setTimeout(flush, 120)
    })
    return () => {
      clearTimeout(timer)
      stop()
    }
  }, [queries, release])

  useEffect(() => {
    if (!isHeld) release()
  }, [isHeld, release])

  const rows = query.data?.pages.flatMap(({ interceptions }) => interceptions)
  return { query, rows, waiting, fresh, release }
}

/** Returns pages with further rows, each at its place; rows behind the first page come with their own page. */
export function withRows(pages: Pages, rows: readonly Interception[]): Pages {
  const [first, ...others] = pages.pages
  if (!first) return pages
  const known = new Set(pages.pages.flatMap(({ interceptions }) => interceptions.map(({ id }) => id)))
  const oldest = others.length > 0 || first.nextCursor !== null ? first.interceptions.at(-1)?.startedAt : undefined
  const added = rows.filter(({ id, startedAt }) => !known.has(id) && (!oldest || startedAt >= oldest))
  if (added.length === 0) return pages
  const interceptions = [...added, ...first.interceptions].sort(newestFirst)
  return { ...pages, pages: [{ ...first, interceptions }, ...others] }
}

function newestFirst(a: Interception, b: Interception): number {
  return b.startedAt.getTime() - a.startedAt.getTime() || (a.id < b.id ? 1 : -1)
}

function withEnds(pages: Pages, ends: ReadonlyMap<string, InterceptionEnd>): Pages {
  return {
    ...pages,
    pages: pages.pages.map(page =>
      page.interceptions.some(({ id }) => ends.has(id))
        ? { ...page, interceptions: page.interceptions.map(row => ({ ...row, ...ends.get(row.id) })) }
        : page,
    ),
  }
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
