/** `aibridge serve`: the control plane and the bridge in one process. */
import type { Command } from 'commander'
import { withCommonOptions, withContentOption } from './options.js'

/** Adds `serve`. */
export function addServeCommand(program: Command): void {
  withServeOptions(program.command('serve').description('run the server'))
    .addHelpText('after', helpText)
    .action(async (flags: Record<string, unknown>) => {
      const { runServer } = await import('../process/run-server.js')
      process.exit(await runServer(flags, process.env))
    })
}

/** Adds the settings of `serve`; those that hold a secret have no flag, because other users of the machine see flags. */
export function withServeOptions(command: Command): Command {
  return withContentOption(withCommonOptions(command))
    .option('--config <file>', 'settings as a JSON object, by the names of the flags; BRIDGE_CONFIG')
    .option('--log-level <level>', 'trace, debug, info, warn, error, fatal or silent; BRIDGE_LOG_LEVEL (default: info)')
    .option('--structured-logging', 'log each record too; BRIDGE_STRUCTURED_LOGGING=true')
    .option(
      '--retention-days <days>',
      'erase what was recorded longer ago; BRIDGE_RETENTION_DAYS (default: 0, keep for ever)',
    )
    .option(
      '--database-url <url>',
      'a PostgreSQL database, instead of the embedded one; BRIDGE_DATABASE_URL or DATABASE_URL, where others cannot see it',
    )
    .option('--database-pool <n>', 'connections to it; BRIDGE_DATABASE_POOL (default: 10)')
    .option(
      '--grace-ms <ms>',
      'how long requests in flight may run on after a signal; BRIDGE_GRACE_MS (default: 30000)',
    )
}

const helpText = `
Environment:
  BRIDGE_ADMIN_TOKEN     what commands show to the server, 16 characters or more (default: the file DATA/admin-token)
  BRIDGE_ENCRYPTION_KEY  seals the providers' keys in the database: 32 bytes in hex or base64; with a comma behind it, the
                         key that was used before (default: the file DATA/encryption-key; required with --database-url)
  ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL   make the provider "anthropic" when a database is used for the first time
  OPENAI_API_KEY, OPENAI_BASE_URL         the same for "openai"

With --port 0 the server takes a free port and prints it. The first SIGINT or SIGTERM lets requests in flight end and
exits with 0, the second exits with 130 at once.`
