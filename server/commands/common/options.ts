/**
 * Options of several commands, made from the declarations of settings. `--help` loads this file, so its imports are
 * few.
 */
import { type Command, Option } from 'commander'
import { defaultOf, flagOf, type Setting, type Settings } from '../../config/setting.js'
import { clientSettings, configSetting, userSettings } from '../../config/settings.js'

/** The options of every command that calls a server, unchecked. */
export interface CommonOptions {
  data?: string
  host?: string
  port?: string
  url?: string
  ca?: string
  json?: boolean
}

/** Adds the options of a command that calls a server: the server's address and `--json`. */
export function withCommonOptions(command: Command): Command {
  return withJsonOption(withSettings(command, clientSettings))
}

/** The options of every command that calls a server for a user, unchecked. */
export interface UserOptions extends Omit<CommonOptions, 'data'> {
  key?: string
  keyFile?: string
}

/** Adds the options of a command that calls a server for a user: the server's address, the key, and `--json`. */
export function withUserOptions(command: Command): Command {
  return withJsonOption(withSettings(command, userSettings))
}

/** Returns a command's own options, without the common ones. */
export function ownOptions<O extends CommonOptions>(options: O): Omit<O, keyof CommonOptions> {
  const { data: _data, host: _host, port: _port, url: _url, ca: _ca, json: _json, ...own } = options
  return own
}

/** The help text of an option or argument that accepts an id. */
export const idHelp = 'an id, or its last 12 digits, as lists print them'

/** Adds `--json`. */
export function withJsonOption(command: Command): Command {
  return command.option('--json', 'print JSON')
}

/** Adds an option for each setting that has a flag, and a help text for the others. */
export function withSettings(command: Command, settings: Settings): Command {
  for (const [name, setting] of Object.entries(settings)) {
    for (const option of optionsOf(name, setting)) command.addOption(option)
  }
  const variables = Object.values(settings).filter(({ flag }) => flag === 'none')
  return withEnvironmentHelp(
    command,
    'Environment',
    variables.map(setting => [setting.variables.join(', '), `${setting.help}${defaultText(setting)}`]),
  )
}

/** Adds a heading and rows of variables with their meanings below the help of the options. */
export function withEnvironmentHelp(
  command: Command,
  heading: string,
  rows: readonly (readonly [variables: string, meaning: string])[],
): Command {
  if (rows.length === 0) return command
  return command.addHelpText('after', ({ command }) => {
    const help = command.createHelp()
    help.prepareContext({ helpWidth: process.stdout.columns ?? 80 })
    const width = Math.max(...rows.map(([names]) => names.length))
    return [`\n${heading}:`, ...rows.map(([names, meaning]) => help.formatItem(names, width, meaning, help))].join('\n')
  })
}

/** Adds an option for each setting that has a flag, and `--config` for a file of settings. */
export function withSettingsAndFile(command: Command, settings: Settings): Command {
  return withSettings(command, { config: configSetting, ...settings })
}

function optionsOf(name: string, setting: Setting): Option[] {
  const { flag } = setting
  if (flag === 'none') return []
  const option = new Option(
    `${flagOf(name, flag)}${typeof flag === 'object' ? ` <${flag.value}>` : ''}`,
    helpOf(setting),
  )
  // `--content` wins over a variable or a file that says false.
  return flag === 'negated' ? [new Option(flagOf(name)).hideHelp(), option] : [option]
}

/** Returns the help text of a setting's option: meaning, words to choose from, variables, default. */
function helpOf(setting: Setting): string {
  const { help, accepts, flag, variables } = setting
  const value = flag === 'switch' ? '=true' : flag === 'negated' ? '=false' : ''
  const names = variables.map(variable => `${variable}${value}`).join(' or ')
  const words = accepts.startsWith('one of ') ? `: ${accepts}` : ''
  return `${help}${words}; ${names}${typeof flag === 'object' ? defaultText(setting) : ''}`
}

function defaultText(setting: Setting): string {
  const preset = defaultOf(setting)
  return preset === undefined ? '' : ` (default: ${preset})`
}
