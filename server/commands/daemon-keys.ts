/** `aibridge daemon-keys`: keys with which remote daemons come to the server. */
import type { Command } from 'commander'
import type { DaemonKey } from '../../shared/contract/admin/daemon-keys.js'
import { type Column, print, printFields, printResult, printTable } from '../process/output.js'
import { callAdmin } from './common/call-admin.js'
import { keyIdOf } from './common/key-id.js'
import { timeOrDuration } from './common/option-values.js'
import { type CommonOptions, withCommonOptions } from './common/options.js'

interface CreateOptions extends CommonOptions {
  name?: string
  delegate?: boolean
  expires?: Date
  keyOnly?: boolean
}

/** Adds `daemon-keys create|list|revoke`. */
export function addDaemonKeysCommands(program: Command): void {
  const keys = program.command('daemon-keys').description('keys with which remote daemons come to the server')

  withCommonOptions(keys.command('create').description('make a key; it is shown this once'))
    .option('--name <name>', 'what the list shows beside it')
    .option('--delegate', "let the daemon name a user by a key's id, without its secret")
    .option('--expires <when>', 'a duration such as 12h or 30d, or a time such as 2030-01-31', value =>
      timeOrDuration(value),
    )
    .option('--key-only', 'print nothing but the key')
    .action(async ({ name, delegate, expires, keyOnly, ...options }: CreateOptions) => {
      const input = {
        delegate: delegate ?? false,
        ...(name !== undefined && { name }),
        ...(expires && { expiresAt: expires }),
      }
      const created = await callAdmin(options, admin => admin.daemonKeys.create.mutate(input))
      printResult(options, created, () => {
        if (keyOnly) print(created.key)
        else {
          printFields({
            key: created.key,
            id: created.id,
            name: created.name,
            delegate: created.delegate,
            expires: created.expiresAt ?? 'never',
          })
        }
      })
    })

  withCommonOptions(keys.command('list').description('all keys, without their secrets, newest first')).action(
    async (options: CommonOptions) => {
      const list = await callAdmin(options, admin => admin.daemonKeys.list.query())
      printResult(options, list, () =>
        printTable(list, columns, 'no daemon keys yet; make one with: daemon-keys create'),
      )
    },
  )

  withCommonOptions(
    keys
      .command('revoke <key>')
      .description('reject a key from now on, by its id or whole, and end its daemon; the secret is not sent'),
  ).action(async (word: string, options: CommonOptions) => {
    const id = keyIdOf(word)
    const key = await callAdmin(options, admin => admin.daemonKeys.revoke.mutate({ id }))
    printResult(options, key, () => print(`revoked daemon key ${key.id}`))
  })
}

const columns: Column<DaemonKey>[] = [
  ['ID', key => key.id],
  ['NAME', key => key.name],
  ['DELEGATE', key => (key.delegate ? 'yes' : 'no')],
  ['CREATED', key => key.createdAt],
  ['EXPIRES', key => key.expiresAt ?? 'never'],
  ['STATE', stateOf],
  ['LAST SEEN', key => key.lastSeenAt],
  ['VERSION', key => key.buildVersion],
]

function stateOf({ revokedAt, expiresAt }: DaemonKey): string {
  if (revokedAt) return 'revoked'
  return expiresAt && expiresAt.getTime() <= Date.now() ? 'expired' : 'valid'
}
