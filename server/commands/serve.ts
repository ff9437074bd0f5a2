/** `aibridge serve`: the control plane and the bridge in one process. */
import type { Command } from 'commander'
import { serveSettings } from '../config/settings.js'
import { withJsonOption, withSettingsAndFile } from './options.js'

/** Adds `serve`. */
export function addServeCommand(program: Command): void {
  withServeOptions(program.command('serve').description('run the server'))
    .addHelpText('after', helpText)
    .action(async (flags: Record<string, unknown>) => {
      const { runServer } = await import('../process/run-server.js')
      process.exit(await runServer(flags, process.env))
    })
}

/** Adds the settings of `serve`. */
export function withServeOptions(command: Command): Command {
  return withJsonOption(withSettingsAndFile(command, serveSettings))
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
