/** Totals as values for spreadsheets and programs: all rows, page by page, each written before the next is read. */
import { once } from 'node:events'
import type { UsageExportInput, UsageGroup, UsageRow } from '../../../shared/contract/admin/usage.js'
import { csvLine } from '../../../shared/values/csv.js'
import { dollarsOf } from '../../../shared/values/money.js'
import { callAdmin } from './call-admin.js'
import type { CommonOptions } from './options.js'

export const exportFormats = ['csv', 'jsonl'] as const

/** One of {@link exportFormats}. */
export type ExportFormat = (typeof exportFormats)[number]

/** Writes all totals to stdout. Ends early, without an error, when the reader of stdout has left. */
export function exportUsage(
  options: CommonOptions,
  query: Omit<UsageExportInput, 'cursor'>,
  format: ExportFormat,
): Promise<void> {
  const fields = [...(query.by ?? []).flatMap(group => fieldsOf[group]), ...countFields]
  const write = async (text: string): Promise<void> => {
    if (!process.stdout.write(text)) await once(process.stdout, 'drain')
  }
  return callAdmin(options, async admin => {
    if (format === 'csv') await write(csvLine(fields.map(([name]) => name)))
    let cursor: string | null | undefined
    do {
      const page = await admin.usageExport.query({ ...query, ...(cursor && { cursor }) })
      await write(page.rows.map(row => lineOf(row, fields, format)).join(''))
      cursor = page.nextCursor
    } while (cursor)
  })
}

type Field = readonly [name: string, value: (row: UsageRow) => string | number | null]

function lineOf(row: UsageRow, fields: readonly Field[], format: ExportFormat): string {
  if (format === 'csv') return csvLine(fields.map(([, value]) => value(row)))
  return `${JSON.stringify(Object.fromEntries(fields.map(([name, value]) => [name, value(row)])))}\n`
}

/** Group → its fields. */
const fieldsOf: Record<UsageGroup, readonly Field[]> = {
  user: [
    ['user_id', row => row.userId],
    ['user', row => row.username],
  ],
  key: [['key', row => row.keyId]],
  provider: [['provider', row => row.provider]],
  model: [['model', row => row.model]],
  client: [['client', row => row.client]],
  day: [['day', row => row.day]],
}

const countFields: readonly Field[] = [
  ['requests', row => row.interceptions],
  ['input_tokens', row => row.inputTokens],
  ['output_tokens', row => row.outputTokens],
  ['cache_read_input_tokens', row => row.cacheReadInputTokens],
  ['cache_write_input_tokens', row => row.cacheWriteInputTokens],
  // Decimal text: a number of a program or a spreadsheet would lose digits. Without a price it is empty, and not 0.
  ['cost_usd', row => row.costNanos && dollarsOf(row.costNanos)],
  ['unpriced_records', row => row.unpricedRecords],
  ['estimated_records', row => row.estimatedRecords],
]
