/** `aibridge import` and `aibridge migrate`: work on a PostgreSQL database itself, without a server. */
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { databaseSettings } from '../config/settings.js'
import { withJsonOption, withSettingsAndFile } from './options.js'
import { print, printFields, printResult } from './output.js'

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
      const rows = await importEmbeddedStore({ from: resolve(from), ...(await databaseOf(options)) })
      printResult(options, rows, () => printFields(rows))
    })

  withDatabase(
    program.command('migrate').description('bring the schema of a PostgreSQL database to this version'),
  ).action(async (options: DatabaseOptions) => {
    const { migratePostgres } = await import('../store/postgres/postgres.js')
    await migratePostgres(await databaseOf(options))
    printResult(options, { migrated: true }, () => print('the schema is of this version'))
  })
}

const importHelp = `
The secrets in the store stay sealed: start the server on the database with BRIDGE_ENCRYPTION_KEY set to what the file
DIR/encryption-key holds. An import that fails changes nothing.`

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
