/** `aibridge audit`: the log of operators' writes. */
import { type Command, Option } from 'commander'
import { type AuditAction, type AuditRecord, auditActions } from '../../shared/contract/admin/audit.js'
import { shortIdOf } from '../../shared/values/short-id.js'
import { type Column, print, printResult, printTable } from '../process/output.js'
import { callAdmin } from './common/call-admin.js'
import { wholeNumber } from './common/option-values.js'
import { type CommonOptions, ownOptions, withCommonOptions } from './common/options.js'

interface ListOptions extends CommonOptions {
  limit?: number
  cursor?: string
  actor?: string
  action?: AuditAction
  target?: string
}

/** Adds `audit list`. */
export function addAuditCommands(program: Command): void {
  const audit = program.command('audit').description('what operators did')

  withCommonOptions(audit.command('list').description('newest first'))
    .option('--actor <name>', 'who did it')
    .addOption(new Option('--action <action>', 'what was done').choices(auditActions))
    .option('--target <target>', 'what was changed: its name or id, or the last 12 digits of the id')
    .option('--limit <n>', 'rows of this page, at most 200 (default: 50)', wholeNumber)
    .option('--cursor <cursor>', 'the nextCursor of the page before')
    .action(async (options: ListOptions) => {
      const query = ownOptions(options)
      const page = await callAdmin(options, admin => admin.audit.list.query(query))
      printResult(options, page, ({ entries, nextCursor }) => {
        printTable(entries, columns, 'no entries')
        if (nextCursor !== null) print(`more: --cursor ${nextCursor}`)
      })
    })
}

const columns: Column<AuditRecord>[] = [
  ['TIME', entry => entry.at],
  ['ACTOR', entry => entry.actor],
  ['ACTION', entry => entry.action],
  ['TARGET', entry => entry.target && shortIdOf(entry.target)],
  ['USER', entry => entry.username],
  ['DETAILS', entry => entry.details],
]
