/** `aibridge acp`: agents on stdio for clients elsewhere, and remote agents for editors on stdio. */
import type { Command } from 'commander'
import { acpConnectSettings, acpServeSettings } from '../config/settings.js'
import { withJsonOption, withSettings, withSettingsAndFile } from './common/options.js'

/** Adds `acp serve` and `acp connect`. */
export function addAcpCommands(program: Command): void {
  const acp = program.command('acp').description('the Agent Client Protocol over the network')
  const serve = acp.command('serve').description('serve a command that is an agent on stdio to clients elsewhere')
  withJsonOption(withSettingsAndFile(serve, acpServeSettings))
    .argument('<command...>', 'the command and its arguments, behind --')
    .addHelpText('after', serveHelp)
    .action(async (words: string[], flags: Record<string, unknown>) => {
      const { runAcpServe } = await import('../process/acp/run-acp-serve.js')
      process.exit(await runAcpServe(words, flags, process.env))
    })
  const connect = acp.command('connect').description('connect an editor on stdio to a remote agent')
  withSettings(connect, acpConnectSettings)
    .argument('<url>', 'http://, https://, ws:// or wss:// URL of the agent')
    .addHelpText('after', connectHelp)
    .action(async (url: string, flags: Record<string, unknown>) => {
      const { runAcpConnect } = await import('../process/acp/run-acp-connect.js')
      process.exit(await runAcpConnect(url, flags, process.env))
    })
}

const serveHelp = `
Each connection starts the command anew. When the connection ends, its stdin is closed; what is left after 5 s gets
SIGTERM, and SIGKILL 2 s later: the command, its process group and its descendants. Clients send the key as a bearer
token and can do on this machine what the agent can.

  aibridge acp serve -- claude-agent-acp`

const connectHelp = `
Reads and writes JSON-RPC messages as lines of JSON. A lost connection is made again, and its sessions are continued.
The log is on stderr. Ends with 0 when stdin ends, with 1 when the server rejects the key, with 3 without a server.`
