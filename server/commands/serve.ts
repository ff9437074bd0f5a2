/** `aibridge serve`: the control plane and the bridge in one process. */
import type { Command } from 'commander'
import { providerTypes } from '../../shared/contract/provider-configurator.js'
import { seedVariables, serveSettings } from '../config/settings.js'
import { withEnvironmentHelp, withJsonOption, withSettingsAndFile } from './common/options.js'

/** Adds `serve`. */
export function addServeCommand(program: Command): void {
  const serve = withServeOptions(program.command('serve').description('run the server'))
  withEnvironmentHelp(serve, 'Environment, for the providers of a new database', seedRows())
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

function seedRows(): [variables: string, meaning: string][] {
  return providerTypes.map(type => {
    const { key, baseUrl } = seedVariables(type)
    return [`${key}, ${baseUrl}`, `key and base URL of the provider "${type}"`]
  })
}

const helpText = `
The first SIGINT or SIGTERM lets requests in flight end and exits with 0, the second exits with 130 at once.`
