/** `aibridge interceptions`: the AI requests that were recorded. */
import type { Command } from 'commander'
import type { Interception, InterceptionDetail } from '../../shared/admin.js'
import { callAdmin } from './call-admin.js'
import { type CommonOptions, timeOrAge, wholeNumber, withCommonOptions } from './options.js'
import { type Column, print, printFields, printResult, printTable, visible } from './output.js'

interface ListOptions extends CommonOptions {
  limit?: number
  cursor?: string
  user?: string
  provider?: string
  model?: string
  client?: string
  session?: string
  errorType?: string
  from?: Date
  to?: Date
}

/** Adds `interceptions list|show`. */
export function addInterceptionsCommands(program: Command): void {
  const interceptions = program.command('interceptions').description('the AI requests that were recorded')

  withCommonOptions(interceptions.command('list').description('newest first'))
    .option('--limit <n>', 'rows of this page, at most 200 (default: 50)', wholeNumber)
    .option('--cursor <cursor>', 'the nextCursor of the page before')
    .option('--user <user>', 'who asked, by name or id')
    .option('--provider <provider>', 'by type or name')
    .option('--model <model>')
    .option('--client <client>')
    .option('--session <id>', "the client's session")
    .option('--error-type <type>')
    .option('--from <when>', 'started then or later: a time, or an age such as 12h', value => timeOrAge(value))
    .option('--to <when>', 'started before: a time, or an age', value => timeOrAge(value))
    .action(async (options: ListOptions) => {
      const { data: _data, host: _host, port: _port, json: _json, session, ...filters } = options
      const input = { ...filters, ...(session !== undefined && { clientSessionId: session }) }
      const page = await callAdmin(options, admin => admin.interceptions.list.query(input))
      printResult(options, page, ({ interceptions, nextCursor }) => {
        printTable(interceptions, columns, 'no interceptions')
        if (nextCursor !== null) print(`more: --cursor ${nextCursor}`)
      })
    })

  withCommonOptions(interceptions.command('show <id>').description('one request, with all its records')).action(
    async (id: string, options: CommonOptions) => {
      const detail = await callAdmin(options, admin => admin.interceptions.get.query({ id }))
      printResult(options, detail, printDetail)
    },
  )
}

const columns: Column<Interception>[] = [
  ['STARTED', row => row.startedAt],
  ['ID', row => row.id],
  ['PROVIDER', row => row.providerName],
  ['MODEL', row => row.model],
  ['CLIENT', row => row.client],
  ['TOOK', tookOf],
  ['ERROR', row => row.errorType],
]

function tookOf({ startedAt, endedAt }: Interception): string {
  return endedAt === null ? 'running' : `${((endedAt.getTime() - startedAt.getTime()) / 1000).toFixed(2)} s`
}

function printDetail(detail: InterceptionDetail): void {
  printFields({ ...detail.interception })
  for (const usage of detail.tokenUsages) {
    print(
      `\ntokens  input ${usage.inputTokens}, output ${usage.outputTokens}, cache read ${usage.cacheReadInputTokens}, cache write ${usage.cacheWriteInputTokens}`,
    )
  }
  for (const { prompt } of detail.promptUsages) printBlock('prompt', prompt)
  for (const { content } of detail.modelThoughts) printBlock('thought', content)
  for (const { tool, input, invocationError } of detail.toolUsages) {
    printBlock(`tool  ${visible(tool)}`, invocationError === null ? input : `${input}\nerror: ${invocationError}`)
  }
}

function printBlock(heading: string, content: string): void {
  print(`\n${heading}`)
  for (const line of content.split('\n')) print(`  ${visible(line)}`)
}
