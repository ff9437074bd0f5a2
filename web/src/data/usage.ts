/** Totals of requests and tokens. */
import { keepPreviousData, queryOptions } from '@tanstack/react-query'
import { type Reads, reads } from './own.js'

type Input = NonNullable<Parameters<Reads['usage']['query']>[0]>

/** What is totalled. */
export type UsageInput = Input

/** A report of usage; the previous one stays in sight while the next is read. */
export const usageQuery = (input: UsageInput) =>
  queryOptions({
    queryKey: ['usage', input],
    queryFn: ({ signal }) => reads().usage.query(input, { signal }),
    staleTime: 30_000,
    placeholderData: keepPreviousData,
  })
