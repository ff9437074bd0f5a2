/** `aibridge agents`: workspace agents, their keys, and their processes. */
import type { Command } from 'commander'
import type { Agent } from '../../shared/contract/admin/agents.js'
import type { ListedProcess } from '../../shared/contract/agents.js'
import { type Column, print, printFields, printResult, printTable } from '../process/output.js'
import { callAdmin } from './common/call-admin.js'
import { timeOrDuration } from './common/option-values.js'
import { type CommonOptions, withCommonOptions } from './common/options.js'
import type { RunOptions } from './common/run-on-agent.js'

interface CreateOptions extends CommonOptions {
  name: string
  user: string
  expires?: Date
  keyOnly?: boolean
}

/** Adds `agents create|list|revoke|run|processes|output`. */
export function addAgentsCommands(program: Command): void {
  const agents = program.command('agents').description('processes on other machines that run commands')

  withCommonOptions(agents.command('create').description('add an agent; its key is shown this once'))
    .requiredOption('--name <name>', 'by which the agent is called')
    .requiredOption('--user <user>', 'its owner: an id, or its last 12 digits, or a name')
    .option('--expires <when>', 'a duration such as 12h or 30d, or a time such as 2030-01-31', value =>
      timeOrDuration(value),
    )
    .option('--key-only', 'print nothing but the key')
    .action(async ({ name, user, expires, keyOnly, ...options }: CreateOptions) => {
      const input = { name, user, ...(expires && { expiresAt: expires }) }
      const created = await callAdmin(options, admin => admin.agents.create.mutate(input))
      printResult(options, created, () => {
        if (keyOnly) return print(created.key)
        const { key, id, username, expiresAt } = created
        printFields({ key, id, name: created.name, user: username, expires: expiresAt ?? 'never' })
      })
    })

  withCommonOptions(agents.command('list').description('all agents, without their secrets, newest first')).action(
    async (options: CommonOptions) => {
      const list = await callAdmin(options, admin => admin.agents.list.query())
      printResult(options, list, () => printTable(list, agentColumns, 'no agents yet; add one with: agents create'))
    },
  )

  withCommonOptions(
    agents
      .command('revoke <agent>')
      .description('reject the key of an agent from now on, and close its connection: by its name or id'),
  ).action(async (agent: string, options: CommonOptions) => {
    const revoked = await callAdmin(options, admin => admin.agents.revoke.mutate({ agent }))
    printResult(options, revoked, () => print(`revoked agent ${revoked.name}`))
  })

  withCommonOptions(
    agents
      .command('run <agent> <command...>')
      .description('run a command on an agent, behind --, print its output and exit with its code'),
  )
    .option('--dir <dir>', 'where the command runs: absolute, or below the directory of the agent')
    .action(async (agent: string, words: string[], options: RunOptions) => {
      const { runOnAgent } = await import('./common/run-on-agent.js')
      await runOnAgent(agent, words, options)
    })

  withCommonOptions(
    agents.command('processes <agent>').description('the newest processes of an agent, running ones first'),
  ).action(async (agent: string, options: CommonOptions) => {
    const list = await callAdmin(options, admin => admin.agents.processes.query({ agent }))
    const { processes, total } = list
    printResult(options, list, () => {
      printTable(processes, processColumns, 'no processes')
      if (total > processes.length) print(`${processes.length} of ${total} processes`)
    })
  })

  withCommonOptions(
    agents.command('output <agent> <id>').description('the output of a process of an agent so far'),
  ).action(async (agent: string, id: string, options: CommonOptions) => {
    const result = await callAdmin(options, admin => admin.agents.output.query({ agent, id, waitMs: 0 }))
    printResult(options, result, () => process.stdout.write(result.output))
  })
}

const agentColumns: Column<Agent>[] = [
  ['ID', agent => agent.id],
  ['NAME', agent => agent.name],
  ['USER', agent => agent.username ?? agent.userId],
  ['CREATED', agent => agent.createdAt],
  ['EXPIRES', agent => agent.expiresAt ?? 'never'],
  ['STATE', stateOf],
  ['LAST SEEN', agent => agent.lastSeenAt],
  ['VERSION', agent => agent.buildVersion],
]

function stateOf({ revokedAt, expiresAt, isConnected }: Agent): string {
  if (revokedAt) return 'revoked'
  if (expiresAt && expiresAt.getTime() <= Date.now()) return 'expired'
  return isConnected ? 'connected' : 'away'
}

const processColumns: Column<ListedProcess>[] = [
  ['ID', process => process.id],
  ['STATE', ({ running, exitCode, signal }) => (running ? 'running' : (signal ?? `exited ${exitCode}`))],
  ['STARTED', process => process.startedAt],
  ['COMMAND', process => process.command],
]
