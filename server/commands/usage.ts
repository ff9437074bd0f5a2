/** `aibridge usage`: requests, tokens and cost by user, key, provider, model, client and day. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { UsageGroup, UsageRow } from '../../shared/contract/admin/usage.js'
import { type EndedBy, endedBy, type InterceptionKind, interceptionKinds } from '../../shared/contract/recorder.js'
import { shownDollars } from '../../shared/values/money.js'
import { shortIdOf } from '../../shared/values/short-id.js'
import { type Column, print, printResult, printTable } from '../process/output.js'
import { callAdmin } from './common/call-admin.js'
import { timeOrAge, wholeNumber } from './common/option-values.js'
import { type CommonOptions, ownOptions, withCommonOptions } from './common/options.js'
import { type ExportFormat, exportFormats, exportUsage } from './common/usage-export.js'

interface UsageOptions extends CommonOptions {
  by?: UsageGroup[]
  from?: Date
  to?: Date
  user?: string
  provider?: string
  model?: string
  endedBy?: EndedBy
  kind: InterceptionKind | 'all'
  limit?: number
  key?: string
  client?: string
  format?: ExportFormat
}

/** Adds `usage`. */
export function addUsageCommand(program: Command): void {
  withCommonOptions(
    program.command('usage').description('requests, tokens and cost, by user, key, provider, model, client and day'),
  )
    .option(
      '--by <groups>',
      `any of ${Object.keys(groupColumns).join(', ')}, with commas between (default: one total)`,
      groupsOf,
    )
    .option('--from <when>', 'started then or later: a time, or an age such as 30d', value => timeOrAge(value))
    .option('--to <when>', 'started before: a time, or an age', value => timeOrAge(value))
    .option('--user <user>', 'who asked, by name or id')
    .option('--provider <provider>', 'by type or name')
    .option('--model <model>')
    .option('--key <id>', 'by the id of an API key')
    .option('--client <client>', 'by the program that asked')
    .addOption(new Option('--ended-by <author>', 'not ended by their daemons, but by').choices(endedBy))
    .addOption(
      new Option('--kind <kind>', 'AI requests, or calls of tools by MCP clients')
        .choices([...interceptionKinds, 'all'])
        .default('model'),
    )
    .option('--limit <n>', 'rows, at most 1000 (default: 1000)', wholeNumber)
    .addOption(
      new Option('--format <format>', 'all rows, without a limit, for a spreadsheet or a program').choices(
        exportFormats,
      ),
    )
    .action(async (options: UsageOptions) => {
      const { kind, format, limit, ...filters } = ownOptions(options)
      if (format) return exportUsage(options, { ...filters, interceptionKind: kind }, format)
      const query = { ...filters, interceptionKind: kind, ...(limit !== undefined && { limit }) }
      const report = await callAdmin(options, admin => admin.usage.query(query))
      printResult(options, report, ({ rows, isCut }) => {
        const groups = (query.by ?? []).map(group => groupColumns[group])
        printTable(rows, [...groups, ...columns], 'no usage')
        if (isCut) print(`only the first ${rows.length} rows; there are more`)
      })
    })
}

const groupColumns: Record<UsageGroup, Column<UsageRow>> = {
  user: ['USER', row => row.username ?? (row.userId && shortIdOf(row.userId))],
  key: ['KEY', row => row.keyId],
  provider: ['PROVIDER', row => row.provider],
  model: ['MODEL', row => row.model],
  client: ['CLIENT', row => row.client],
  day: ['DAY', row => row.day],
}

const columns: Column<UsageRow>[] = [
  ['REQUESTS', row => row.interceptions],
  ['INPUT', row => row.inputTokens],
  ['OUTPUT', row => row.outputTokens],
  ['CACHE READ', row => row.cacheReadInputTokens],
  ['CACHE WRITE', row => row.cacheWriteInputTokens],
  ['COST', row => row.costNanos && shownDollars(row.costNanos)],
  ['UNPRICED', row => row.unpricedRecords || null],
]

function groupsOf(value: string): UsageGroup[] {
  return value.split(',').map(word => {
    const group = word.trim()
    if (Object.hasOwn(groupColumns, group)) return group as UsageGroup // checked on this line
    throw new InvalidArgumentError(`It must be any of ${Object.keys(groupColumns).join(', ')}.`)
  })
}
