/** `aibridge purge`: erases a person. */
import type { Command } from 'commander'
import type { PurgedDaemons, PurgeProgress, UnreachedDaemon } from '../../shared/contract/admin/users.js'
import { type Column, print, printResult, printTable } from '../process/output.js'
import type { AdminClient } from './common/admin-client.js'
import { callAdmin } from './common/call-admin.js'
import { type CommonOptions, withCommonOptions } from './common/options.js'

interface PurgeOptions extends CommonOptions {
  user: string
  yes?: boolean
}

/** Adds `purge`. */
export function addPurgeCommand(program: Command): void {
  withCommonOptions(
    program
      .command('purge')
      .description('erase a user, with all keys and everything that was recorded of them, for good'),
  )
    .requiredOption('--user <user>', 'by name or id; the id also of a user who is deleted')
    .option('--yes', 'do not ask')
    .addHelpText('after', helpText)
    .action(async ({ user, yes, ...options }: PurgeOptions) => {
      if (!yes) {
        const { confirmByTyping } = await import('./common/confirm.js')
        await confirmByTyping(user, `This erases user ${JSON.stringify(user)} and all records for good.`)
      }
      const purged = await callAdmin(options, admin => purge(admin, user))
      printResult(
        options,
        purged,
        ({ userId, interceptions, records, apiKeys, links, conversations, chats, daemons }) => {
          print(
            `purged user ${userId}: ${interceptions} interceptions with ${records} records, ${apiKeys} API keys, ${links} links to MCP servers, ${conversations} conversations with injected tools, ${chats} chats`,
          )
          if (daemons) printDaemons(userId, daemons)
        },
      )
    })
}

function printDaemons(userId: string, { reached, records, unreached }: PurgedDaemons): void {
  print(`daemons that have erased the user: ${reached}, with ${records} records that had not been handed over`)
  if (unreached.length === 0) return
  print('daemons that may still hold records of the user:')
  printTable(unreached, unreachedColumns, '')
  print(
    `They erase as soon as they are back, if they are not of an older version. Run this again then: aibridge purge --user ${userId}`,
  )
}

const unreachedColumns: Column<UnreachedDaemon>[] = [
  ['DAEMON KEY', daemon => daemon.daemonKeyId ?? 'none: the bridge of a server'],
  ['NAME', daemon => daemon.name],
  ['LAST SEEN', daemon => daemon.lastSeenAt],
]

const helpText = `
The user's keys are rejected first, and every daemon erases what it has not handed over. Daemons that could not be reached are
named: they erase when they are back. It may be interrupted, and be run again: it goes on. The audit log keeps its entries, with
the id in place of the name.`

/** Repeats the call until nothing is left, and says on stderr how far it is. */
export async function purge(admin: Pick<AdminClient, 'users'>, user: string): Promise<PurgeProgress> {
  let progress = await admin.users.purge.mutate({ user })
  while (!progress.done) {
    const { userId, interceptions } = progress
    process.stderr.write(`user ${userId}: ${interceptions} interceptions are erased, more are left\n`)
    progress = await admin.users.purge.mutate({ user: userId })
  }
  return progress
}
