/** `aibridge usage`: tokens and requests by user, provider, model and day. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { UsageGroup, UsageRow } from '../../shared/contract/admin/usage.js'
import { type EndedBy, endedBy, type InterceptionKind, interceptionKinds } from '../../shared/contract/recorder.js'
import { shortIdOf } from '../../shared/values/short-id.js'
import { type Column, print, printResult, printTable } from '../process/output.js'
import { callAdmin } from './common/call-admin.js'
import { timeOrAge, wholeNumber } from './common/option-values.js'
import { type CommonOptions, ownOptions, withCommonOptions } from './common/options.js'

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
}

/** Adds `usage`. */
export function addUsageCommand(program: Command): void {
  withCommonOptions(
    program.command('usage').description('how many requests and tokens, by user, provider, model and day'),
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
    .addOption(new Option('--ended-by <author>', 'not ended by their daemons, but by').choices(endedBy))
    .addOption(
      new Option('--kind <kind>', 'AI requests, or calls of tools by MCP clients')
        .choices([...interceptionKinds, 'all'])
        .default('model'),
    )
    .option('--limit <n>', 'rows, at most 1000 (default: 1000)', wholeNumber)
    .action(async (options: UsageOptions) => {
      const { kind, ...filters } = ownOptions(options)
      const query = { ...filters, interceptionKind: kind }
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
  provider: ['PROVIDER', row => row.provider],
  model: ['MODEL', row => row.model],
  day: ['DAY', row => row.day],
}

const columns: Column<UsageRow>[] = [
  ['REQUESTS', row => row.interceptions],
  ['INPUT', row => row.inputTokens],
  ['OUTPUT', row => row.outputTokens],
  ['CACHE READ', row => row.cacheReadInputTokens],
  ['CACHE WRITE', row => row.cacheWriteInputTokens],
]

function groupsOf(value: string): UsageGroup[] {
  return value.split(',').map(word => {
    const group = word.trim()
    if (Object.hasOwn(groupColumns, group)) return group as UsageGroup // checked on this line
    throw new InvalidArgumentError(`It must be any of ${Object.keys(groupColumns).join(', ')}.`)
  })
}
