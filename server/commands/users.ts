/** `aibridge users`: the people and programs that may use the bridge. */
import type { Command } from 'commander'
import type { User } from '../../shared/contract/admin/users.js'
import { shortIdOf } from '../../shared/values/short-id.js'
import { type Column, print, printResult, printTable } from '../process/output.js'
import { callAdmin } from './common/call-admin.js'
import { type CommonOptions, withCommonOptions } from './common/options.js'

/** Adds `users create|list|suspend|activate|delete`. */
export function addUsersCommands(program: Command): void {
  const users = program.command('users').description('users, who own API keys').addHelpText('after', userHelp)

  withCommonOptions(users.command('create <name>').description('add a user')).action(
    async (username: string, options: CommonOptions) => {
      const user = await callAdmin(options, admin => admin.users.create.mutate({ username }))
      printResult(options, user, () => print(`created user ${user.username}, id ${user.id}`))
    },
  )

  withCommonOptions(users.command('list').description('all users, deleted ones too')).action(
    async (options: CommonOptions) => {
      const list = await callAdmin(options, admin => admin.users.list.query())
      printResult(options, list, () => printTable(list, columns, 'no users yet; add one with: users create NAME'))
    },
  )

  withCommonOptions(
    users.command('suspend <user>').description("reject a user's keys until the user is activated"),
  ).action(async (user: string, options: CommonOptions) => {
    const changed = await callAdmin(options, admin => admin.users.setStatus.mutate({ user, status: 'suspended' }))
    printResult(options, changed, () => print(`suspended user ${changed.username}`))
  })

  withCommonOptions(users.command('activate <user>').description("take a suspended user's keys again")).action(
    async (user: string, options: CommonOptions) => {
      const changed = await callAdmin(options, admin => admin.users.setStatus.mutate({ user, status: 'active' }))
      printResult(options, changed, () => print(`activated user ${changed.username}`))
    },
  )

  withCommonOptions(
    users.command('delete <user>').description("reject a user's keys for good, after a question; the records stay"),
  )
    .option('--yes', 'do not ask')
    .action(async (user: string, { yes, ...options }: CommonOptions & { yes?: boolean }) => {
      if (!yes) {
        const { confirmByTyping } = await import('./common/confirm.js')
        await confirmByTyping(user, `This rejects the keys of user ${JSON.stringify(user)} for good; the records stay.`)
      }
      const changed = await callAdmin(options, admin => admin.users.delete.mutate({ user }))
      printResult(options, changed, () => print(`deleted user ${changed.username}`))
    })
}

const userHelp = `
USER is a name, an id, or the last 12 digits of an id, as lists print them. --json prints whole ids.`

const columns: Column<User>[] = [
  ['NAME', user => user.username],
  ['STATUS', user => (user.deletedAt ? 'deleted' : user.status)],
  ['CREATED', user => user.createdAt],
  ['ID', user => shortIdOf(user.id)],
]
