/**
 * The command line. `--help` loads the words of all commands, and each command loads its parts when the command runs.
 *
 * A failure is text if stderr is a terminal. With `--json`, and without a terminal, a failure is one line of JSON,
 * `{code, reason, message, mayHaveRun}`.
 */
import { Command, CommanderError } from 'commander'
import { maskSecrets } from '../../shared/values/mask-secrets.js'
import { buildVersion } from '../process/build-version.js'
import { invocation } from '../process/invocation.js'
import { addAcpCommands } from './acp.js'
import { addAgentCommand } from './agent.js'
import { addAgentsCommands } from './agents.js'
import { addAuditCommands } from './audit.js'
import { addChatsCommands } from './chats.js'
import { ExitWith } from './common/exit-with.js'
import { type Failure, failureOf, failureText } from './common/failure.js'
import { addConfigCommands } from './config.js'
import { addDaemonCommand } from './daemon.js'
import { addDaemonKeysCommands } from './daemon-keys.js'
import { addDatabaseCommands } from './database.js'
import { addInterceptionsCommands } from './interceptions.js'
import { addKeysCommands } from './keys.js'
import { addMcpCommands } from './mcp.js'
import { addOutboxCommands } from './outbox.js'
import { addPricesCommands } from './prices.js'
import { addProvidersCommands } from './providers.js'
import { addPurgeCommand } from './purge.js'
import { addSecretsCommands } from './rotate-secrets.js'
import { addServeCommand } from './serve.js'
import { addUsageCommand } from './usage.js'
import { addUsersCommands } from './users.js'

/**
 * Runs a command, writes a failure to stderr, and returns the exit code: 0 for success, 1 for a failure, 3 for an
 * unreachable server, and that of its command for `agents run`. Without a command, the help goes to stdout and the exit
 * code is 1, as with git and npm.
 * @param words the arguments behind the program's name
 */
export async function runCommandLine(words: readonly string[]): Promise<number> {
  try {
    await createProgram().parseAsync(words, { from: 'user' })
    return 0
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0
    if (error instanceof CommanderError && error.code === 'commander.help') return 1
    if (error instanceof ExitWith) return error.exitCode
    const { failure, exitCode } = failureOf(error)
    await writeFailure(failure, words)
    return exitCode
  }
}

/** Creates the program with all commands. */
export function createProgram(): Command {
  const program = new Command('aibridge')
    .description('One gateway for AI models: every request has an owner, every token is counted.')
    .version(buildVersion())
    // Usage errors are written as every other failure. The help of an incomplete command goes to stdout as any help.
    .configureOutput({ outputError: () => {}, writeErr: text => process.stdout.write(text) })
  addServeCommand(program)
  addDaemonCommand(program)
  addAgentCommand(program)
  addAcpCommands(program)
  addUsersCommands(program)
  addKeysCommands(program)
  addDaemonKeysCommands(program)
  addAgentsCommands(program)
  addChatsCommands(program)
  addProvidersCommands(program)
  addMcpCommands(program)
  addInterceptionsCommands(program)
  addUsageCommand(program)
  addPricesCommands(program)
  addAuditCommands(program)
  addSecretsCommands(program)
  addOutboxCommands(program)
  addPurgeCommand(program)
  addDatabaseCommands(program)
  addConfigCommands(program)
  for (const command of commandsBelow(program)) {
    pointAtHelp(command)
    requireOptionsLast(command)
  }
  return program
}

function commandsBelow(command: Command): Command[] {
  return [command, ...command.commands.flatMap(commandsBelow)]
}

/** Adds the command line of the command's help to usage errors. */
function pointAtHelp(command: Command): void {
  const path: string[] = []
  for (let at: Command | null = command; at?.parent; at = at.parent) path.unshift(at.name())
  const help = [invocation(), ...path, '--help'].join(' ')
  command.exitOverride(error => {
    const isUsageError = error.exitCode !== 0 && error.code !== 'commander.help'
    if (!isUsageError) throw error
    // Commander writes the similar option on a line of its own.
    const problem = error.message
      .replace(/^error: /, '')
      .replaceAll('\n', ' ')
      .replace(/\.$/, '')
    throw new CommanderError(error.exitCode, error.code, `${problem}; see: ${help}`)
  })
}

/**
 * Checks required options after unknown ones. Commander does the reverse, and would report a misspelt option as
 * missing.
 */
function requireOptionsLast(command: Command): void {
  const required = command.options.filter(option => option.mandatory)
  for (const option of required) option.makeOptionMandatory(false)
  command.hook('preAction', () => {
    for (const option of required) {
      if (command.getOptionValue(option.attributeName()) === undefined) {
        command.error(`error: required option '${option.flags}' not specified`, {
          code: 'commander.missingMandatoryOptionValue',
        })
      }
    }
  })
}

/** Writes the failure, and resolves when the process may end. */
function writeFailure(failure: Failure, words: readonly string[]): Promise<void> {
  const isForPeople = process.stderr.isTTY && !words.includes('--json')
  const text = isForPeople ? failureText(failure) : JSON.stringify(failure)
  return new Promise(resolve => {
    process.stderr.write(`${maskSecrets(text)}\n`, () => resolve())
  })
}
