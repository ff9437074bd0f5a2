/** `aibridge keys`: API keys, with which AI clients come to the bridge. */
import type { Command } from 'commander'
import type { ApiKey } from '../../shared/contract/admin/api-keys.js'
import { shortIdOf } from '../../shared/values/short-id.js'
import { type Column, print, printFields, printResult, printTable } from '../process/output.js'
import { callAdmin } from './common/call-admin.js'
import { keyIdOf } from './common/key-id.js'
import { timeOrDuration } from './common/option-values.js'
import { type CommonOptions, withCommonOptions } from './common/options.js'

interface CreateOptions extends CommonOptions {
  user: string
  name?: string
  expires?: Date
  keyOnly?: boolean
}

/** Adds `keys create|list|revoke`. */
export function addKeysCommands(program: Command): void {
  const keys = program.command('keys').description('API keys, with which AI clients come to the bridge')

  withCommonOptions(keys.command('create').description('make a key; it is shown this once'))
    .requiredOption('--user <user>', 'the owner, by name or id')
    .option('--name <name>', 'a name that the list shows beside it, for instance of the machine or the client')
    .option('--expires <when>', 'a duration such as 12h or 30d, or a time such as 2030-01-31', value =>
      timeOrDuration(value),
    )
    .option('--key-only', 'print nothing but the key')
    .action(async ({ user, name, expires, ...options }: CreateOptions) => {
      const input = { user, ...(name !== undefined && { name }), ...(expires && { expiresAt: expires }) }
      const created = await callAdmin(options, admin => admin.apiKeys.create.mutate(input))
      printResult(options, created, () => {
        if (options.keyOnly) print(created.key)
        else
          printFields({
            key: created.key,
            id: created.id,
            name: created.name,
            user: created.username,
            expires: created.expiresAt ?? 'never',
          })
      })
    })

  withCommonOptions(keys.command('list').description('all keys, without their secrets'))
    .option('--user <user>', "only this user's, by name or id")
    .action(async ({ user, ...options }: CommonOptions & { user?: string }) => {
      const list = await callAdmin(options, admin => admin.apiKeys.list.query(user === undefined ? {} : { user }))
      printResult(options, list, () => printTable(list, columns, 'no keys yet; make one with: keys create --user NAME'))
    })

  withCommonOptions(
    keys.command('revoke <key>').description('reject a key from now on, by its id or whole; the secret is not sent'),
  ).action(async (word: string, options: CommonOptions) => {
    const id = keyIdOf(word)
    const key = await callAdmin(options, admin => admin.apiKeys.expire.mutate({ id }))
    printResult(options, key, () => print(`revoked key ${key.id} of user ${key.username ?? key.userId}`))
  })
}

const columns: Column<ApiKey>[] = [
  ['ID', key => key.id],
  ['NAME', key => key.name],
  ['USER', key => key.username ?? shortIdOf(key.userId)],
  ['CREATED', key => key.createdAt],
  ['EXPIRES', key => key.expiresAt ?? 'never'],
  ['STATE', key => (key.expiresAt && key.expiresAt.getTime() <= Date.now() ? 'expired' : 'valid')],
  ['LAST USED', key => key.lastUsedAt],
]
