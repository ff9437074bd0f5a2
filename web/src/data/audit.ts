/** The log of operators' writes. */
import { infiniteQueryOptions } from '@tanstack/react-query'
import { api } from './client.js'

type Input = Parameters<ReturnType<typeof api>['admin']['audit']['list']['query']>[0]

/** Filters of the log. */
export type AuditFilters = Omit<NonNullable<Input>, 'cursor' | 'limit'>

/** Pages of the log, newest first. */
export const auditQuery = (filters: AuditFilters) =>
  infiniteQueryOptions({
    queryKey: ['audit', filters],
    queryFn: ({ pageParam, signal }) =>
      api().admin.audit.list.query(
        { ...filters, limit: 100, ...(pageParam !== undefined && { cursor: pageParam }) },
        { signal },
      ),
    initialPageParam: undefined as string | undefined, // the type of all later ones
    getNextPageParam: page => page.nextCursor ?? undefined,
    refetchInterval: 15_000,
  })
