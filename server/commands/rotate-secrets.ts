/** `aibridge secrets`: the key that seals the secrets in the database. */
import type { Command } from 'commander'
import type { RotationResult } from '../../shared/contract/admin/secrets.js'
import { print, printResult } from '../process/output.js'
import { callAdmin } from './common/call-admin.js'
import { type CommonOptions, withCommonOptions } from './common/options.js'

/** Adds `secrets rotate`. */
export function addSecretsCommands(program: Command): void {
  const secrets = program.command('secrets').description('the key that seals the secrets in the database')

  withCommonOptions(secrets.command('rotate').description('seal everything anew under a new key'))
    .addHelpText('after', helpText)
    .action(async (options: CommonOptions) => {
      const result = await callAdmin(options, admin => admin.secrets.rotate.mutate())
      printResult(options, result, ({ rotated, kept, unreadable, oldKey }) => {
        print(`sealed anew: ${rotated}, under the new key already: ${kept}, unreadable: ${unreadable}`)
        if (unreadable > 0)
          print("what is unreadable stands in the server's log; replace or remove it, and run this again")
        print(unreadable > 0 && oldKey === 'configured' ? adviceOf.kept : adviceOf[oldKey])
      })
    })
}

const adviceOf: Record<RotationResult['oldKey'], string> = {
  removed: 'the server made a new key; keep a copy of the file encryption-key with the next backup',
  kept: 'keep the old key until nothing is unreadable',
  configured: 'the old key may be removed from BRIDGE_ENCRYPTION_KEY once every server runs with NEW,OLD',
  none: 'there is no new key: start every server with BRIDGE_ENCRYPTION_KEY=NEW,OLD, and run this again',
}

const helpText = `
A server whose key is in the file DATA/encryption-key makes a new one by itself. Where BRIDGE_ENCRYPTION_KEY is set: start every
server with NEW,OLD, run this, and start them with NEW when nothing is unreadable. It may be interrupted, and be run again.
Backups from before need the old key.`
