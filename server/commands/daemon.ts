/** `aibridge daemon`: a bridge of its own, apart from the control plane. */
import type { Command } from 'commander'
import { withContentOption } from './options.js'

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
  return withContentOption(command)
    .option('--config <file>', 'settings as a JSON object, by the names of the flags; BRIDGE_CONFIG')
    .option('--url <base>', 'where the control plane is, for instance https://bridge.example.com; BRIDGE_URL')
    .option('--key <key>', 'a daemon key, as daemon-keys create prints it; BRIDGE_DAEMON_KEY')
    .option('--ca <file>', "certificate authority of the control plane, PEM; BRIDGE_CA (default: the system's)")
    .option('--host <host>', 'address to listen on; BRIDGE_HOST (default: 127.0.0.1)')
    .option('--port <port>', 'port to listen on; BRIDGE_PORT (default: 4101)')
    .option('--json', 'print JSON')
    .option('--log-level <level>', 'trace, debug, info, warn, error, fatal or silent; BRIDGE_LOG_LEVEL (default: info)')
    .option(
      '--grace-ms <ms>',
      'how long requests in flight may run on after a signal; BRIDGE_GRACE_MS (default: 30000)',
    )
}

const helpText = `
A control plane that cannot be reached is tried again; one that refuses the key, or revokes it, ends the daemon with 1.
Give the key in BRIDGE_DAEMON_KEY where other users of the machine can see the command line.

With --port 0 the daemon takes a free port and prints it. The first SIGINT or SIGTERM lets requests in flight end and
exits with 0, the second exits with 130 at once.`
