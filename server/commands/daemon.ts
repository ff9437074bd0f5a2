/** `aibridge daemon`: a bridge of its own, apart from the control plane. */
import type { Command } from 'commander'
import { daemonSettings } from '../config/settings.js'
import { withJsonOption, withSettingsAndFile } from './options.js'

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
A control plane that cannot be reached is tried again; one that refuses the key, or revokes it, ends the daemon with 1.
Give the key in BRIDGE_DAEMON_KEY where other users of the machine can see the command line.

With --port 0 the daemon takes a free port and prints it. The first SIGINT or SIGTERM lets requests in flight end and
exits with 0, the second exits with 130 at once.`
