/** `aibridge daemon`: a bridge in its own process, apart from the control plane. */
import type { Command } from 'commander'
import { daemonSettings } from '../config/settings.js'
import { withJsonOption, withSettingsAndFile } from './common/options.js'

/** Adds `daemon`. */
export function addDaemonCommand(program: Command): void {
  withDaemonOptions(program.command('daemon').description('run a bridge that reports to a control plane elsewhere'))
    .addHelpText('after', helpText)
    .action(async (flags: Record<string, unknown>) => {
      const { runDaemon } = await import('../process/run-daemon.js')
      process.exit(await runDaemon(flags, process.env))
    })
}

/** Adds the settings of `daemon`. */
export function withDaemonOptions(command: Command): Command {
  return withJsonOption(withSettingsAndFile(command, daemonSettings))
}

const helpText = `
The daemon dials an unreachable control plane again, and ends with 1 when the control plane rejects or revokes the key.
The first SIGINT or SIGTERM lets requests in flight end and exits with 0, the second exits with 130 at once.`
