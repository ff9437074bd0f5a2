#!/usr/bin/env node
/**
 * The command line. It loads only what the words on it need: a command's parts when it runs.
 *
 * Ends with 0, or with 1 and one line of JSON on stderr, `{code, reason, message}`; with 3 if that line says that no server answers.
 */
import { Command, CommanderError } from 'commander'
import { maskSecrets } from '../shared/values/mask-secrets.js'
import { addAuditCommands } from './commands/audit.js'
import { addConfigCommands } from './commands/config.js'
import { addDaemonCommand } from './commands/daemon.js'
import { addDaemonKeysCommands } from './commands/daemon-keys.js'
import { addDatabaseCommands } from './commands/database.js'
import { addInterceptionsCommands } from './commands/interceptions.js'
import { addKeysCommands } from './commands/keys.js'
import { addMcpCommands } from './commands/mcp.js'
import { type Failure, failureOf } from './commands/options.js'
import { addProvidersCommands } from './commands/providers.js'
import { addPurgeCommand } from './commands/purge.js'
import { addSecretsCommands } from './commands/rotate-secrets.js'
import { addServeCommand } from './commands/serve.js'
import { addUsageCommand } from './commands/usage.js'
import { addUsersCommands } from './commands/users.js'
import { buildVersion } from './process/build-version.js'

// A reader that has seen enough, such as `head`, is no failure.
process.stdout.on('error', error => {
  if (Reflect.get(error, 'code') !== 'EPIPE') throw error
})

const program = new Command('aibridge')
  .description('One gateway for AI models: every request has an owner, every token is counted.')
  .version(buildVersion())
  .exitOverride()
  .configureOutput({ writeErr: () => {} })
addServeCommand(program)
addDaemonCommand(program)
addUsersCommands(program)
addKeysCommands(program)
addDaemonKeysCommands(program)
addProvidersCommands(program)
addMcpCommands(program)
addInterceptionsCommands(program)
addUsageCommand(program)
addAuditCommands(program)
addSecretsCommands(program)
addPurgeCommand(program)
addDatabaseCommands(program)
addConfigCommands(program)

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) endUsageError(error)
  else {
    const { failure, exitCode } = failureOf(error)
    fail(failure, exitCode)
  }
}

function endUsageError(error: CommanderError): void {
  // Help and version that were asked for come here too.
  if (error.exitCode === 0) return
  const message =
    error.code === 'commander.help' ? 'a command is missing; see --help' : error.message.replace(/^error: /, '')
  fail({ code: 'BAD_REQUEST', reason: null, message }, 1)
}

function fail(failure: Failure, exitCode: number): void {
  // A start that failed half-way may have left something that keeps the process alive.
  process.stderr.write(`${maskSecrets(JSON.stringify(failure))}\n`, () => process.exit(exitCode))
}
