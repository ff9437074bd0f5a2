/** Totals of requests and tokens. */
import { keepPreviousData, queryOptions } from '@tanstack/react-query'
import { api } from './client.js'

type Input = NonNullable<Parameters<ReturnType<typeof api>['admin']['usage']['query']>[0]>

/** What is totalled. */
export type UsageInput = Input

/** A report of usage; the previous one stays in sight while the next is read. */
export const usageQuery = (input: UsageInput) =>
  queryOptions({
    queryKey: ['usage', input],
    queryFn: ({ signal }) => api().admin.usage.query(input, { signal }),
    staleTime: 30_000,
    placeholderData: keepPreviousData,
  })
