/** `aibridge import` and `aibridge migrate`: commands on a PostgreSQL database, without a server. */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { secretFiles } from '../config/keys.js'
import { databaseSettings } from '../config/settings.js'
import { invocation, shellWord } from '../process/invocation.js'
import { print, printFields, printResult } from '../process/output.js'
import { withJsonOption, withSettingsAndFile } from './common/options.js'

interface DatabaseOptions {
  config?: string
  databaseUrl?: string
  json?: boolean
}

/** Adds `import` and `migrate`. */
export function addDatabaseCommands(program: Command): void {
  withDatabase(program.command('import').description('copy an embedded store into an empty PostgreSQL database'))
    .requiredOption('--from <dir>', 'data directory of the embedded store, whose server is stopped')
    .addHelpText('after', importHelp)
    .action(async ({ from, ...options }: DatabaseOptions & { from: string }) => {
      const { importEmbeddedStore } = await import('../store/open/import.js')
      const source = resolve(from)
      const database = await databaseOf(options)
      const rows = await finish('the import', () => importEmbeddedStore({ from: source, ...database }))
      printResult(options, rows, () => {
        printFields(rows)
        print(nextStep(source))
      })
    })

  withDatabase(
    program.command('migrate').description('bring the schema of a PostgreSQL database to this version'),
  ).action(async (options: DatabaseOptions) => {
    const { migratePostgres } = await import('../store/postgres/postgres.js')
    const database = await databaseOf(options)
    await finish('the migration', () => migratePostgres(database))
    printResult(options, { migrated: true }, () =>
      print('the schema is up to date: servers of this version can be started on the database'),
    )
  })
}

const importHelp = `
The secrets in the store stay sealed: start the server on the database with BRIDGE_ENCRYPTION_KEY set to the content of the
file DIR/encryption-key. An import that fails, or is ended by a second Ctrl-C, changes nothing.`

/** Returns the next step after an import: a server on the new database, as a command line for a shell. */
function nextStep(source: string): string {
  const keyFile = join(source, secretFiles.encryptionKey)
  const key = existsSync(keyFile) ? `"$(cat ${shellWord(keyFile)})"` : "'the key of the old server'"
  return `
Start the server on the new database, with the URL in DATABASE_URL:
    BRIDGE_ENCRYPTION_KEY=${key} ${invocation()} serve`
}

/**
 * Runs the work to its end despite a signal. Both commands work in one transaction, so a second signal changes nothing.
 */
async function finish<T>(name: string, work: () => Promise<T>): Promise<T> {
  const { finishDespiteSignals } = await import('../process/stop-signals.js')
  return finishDespiteSignals(work, signal => {
    process.stderr.write(`${signal}: ${name} goes on to its end; a second signal stops at once and changes nothing\n`)
  })
}

function withDatabase(command: Command): Command {
  return withJsonOption(withSettingsAndFile(command, databaseSettings))
}

async function databaseOf({ config, databaseUrl }: DatabaseOptions) {
  const [{ databaseUrlFrom }, { createLogger }] = await Promise.all([
    import('../config/config.js'),
    import('../process/logger.js'),
  ])
  return {
    url: databaseUrlFrom({ config, databaseUrl }, process.env),
    logger: createLogger({ level: 'warn' }),
  }
}
