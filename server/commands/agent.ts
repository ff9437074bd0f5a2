/** `aibridge agent`: a process that runs commands on this machine for a control plane elsewhere. */
import type { Command } from 'commander'
import { agentSettings } from '../config/settings.js'
import { withJsonOption, withSettingsAndFile } from './common/options.js'

/** Adds `agent`. */
export function addAgentCommand(program: Command): void {
  const command = program.command('agent').description('run commands on this machine for a control plane elsewhere')
  withJsonOption(withSettingsAndFile(command, agentSettings))
    .addHelpText('after', helpText)
    .action(async (flags: Record<string, unknown>) => {
      const { runAgent } = await import('../process/run-agent.js')
      process.exit(await runAgent(flags, process.env))
    })
}

const helpText = `
The agent dials an unreachable control plane again, and ends with 1 when the control plane rejects or revokes the key,
or when another process comes with it. The first SIGINT or SIGTERM ends the commands and exits with 0, the second exits
with 130 at once. Commands run as the agent's user and can read what the agent can: run it in a container.`
