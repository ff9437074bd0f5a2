/** Totals of requests and tokens. */
import { keepPreviousData, queryOptions } from '@tanstack/react-query'
import type { UsageExportPage, UsageRow } from '../../../shared/contract/admin/usage.js'
import { api } from './client.js'
import { isOperator, type Reads, reads } from './own.js'

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

/** Reads all rows of a report: an operator's without a limit, page by page. */
export async function exportUsage(input: UsageInput): Promise<UsageRow[]> {
  if (!isOperator()) return (await reads().usage.query(input)).rows
  const rows: UsageRow[] = []
  let cursor: string | null = null
  do {
    const page: UsageExportPage = await api().admin.usageExport.query(cursor === null ? input : { ...input, cursor })
    rows.push(...page.rows)
    cursor = page.nextCursor
  } while (cursor !== null)
  return rows
}
