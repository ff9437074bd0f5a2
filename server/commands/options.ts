/** Options that several commands take, and how a failure ends a command. Light: `--help` loads this file too. */
import { type Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { RpcError } from '../../shared/rpc/errors.js'
import { defaultOf, flagOf, type Setting, type Settings } from '../config/setting.js'
import { clientSettings, configSetting } from '../config/settings.js'
import { visible } from './output.js'

/** The options of every command that calls a server, unchecked. */
export interface CommonOptions {
  data?: string
  host?: string
  port?: string
  url?: string
  ca?: string
  json?: boolean
}

/** Adds the options of a command that calls a server: its address and `--json`. */
export function withCommonOptions(command: Command): Command {
  return withJsonOption(withSettings(command, clientSettings))
}

/** Returns the options that are a command's own. */
export function ownOptions<O extends CommonOptions>(options: O): Omit<O, keyof CommonOptions> {
  const { data: _data, host: _host, port: _port, url: _url, ca: _ca, json: _json, ...own } = options
  return own
}

/** The line of help about ids, for commands that take one. */
export const idHelp = 'an id, or its last 12 digits, as lists print them'

/** Adds `--json`. */
export function withJsonOption(command: Command): Command {
  return command.option('--json', 'print JSON')
}

/** Adds an option for each setting that has a flag. */
export function withSettings(command: Command, settings: Settings): Command {
  for (const [name, setting] of Object.entries(settings)) {
    for (const option of optionsOf(name, setting)) command.addOption(option)
  }
  return command
}

/** Adds an option for each setting that has a flag, and `--config` for a file of them. */
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

/** The option's line of help: purpose, variables and default. */
function helpOf(setting: Setting): string {
  const { help, flag, variables } = setting
  const value = flag === 'switch' ? '=true' : flag === 'negated' ? '=false' : ''
  const preset = typeof flag === 'object' ? defaultOf(setting) : undefined
  const names = variables.map(variable => `${variable}${value}`).join(' or ')
  return `${help}; ${names}${preset === undefined ? '' : ` (default: ${preset})`}`
}

/** Why a command failed: one line of JSON on stderr. */
export interface Failure {
  code: string
  reason: string | null
  message: string
}

/**
 * Returns what a command that threw prints, and its exit code. The message of an {@link RpcError} and of a usage error is meant for the user; any other
 * error is a fault of aibridge.
 */
export function failureOf(thrown: unknown): { failure: Failure; exitCode: 1 | 3 } {
  if (thrown instanceof RpcError) {
    return {
      failure: { code: thrown.code, reason: thrown.reason ?? null, message: thrown.message },
      exitCode: thrown.reason === 'server_unreachable' ? 3 : 1,
    }
  }
  if (thrown instanceof CommanderError) {
    return { failure: { code: 'BAD_REQUEST', reason: null, message: thrown.message }, exitCode: 1 }
  }
  const message = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown)
  return { failure: { code: 'INTERNAL_SERVER_ERROR', reason: null, message }, exitCode: 1 }
}

/** Returns a failure as a person at a terminal reads it: the message, then the reason or code that programs and the documents use. */
export function failureText({ code, reason, message }: Failure): string {
  const isUsageError = code === 'BAD_REQUEST' && reason === null
  return isUsageError ? `error: ${visible(message)}` : `error: ${visible(message)} (${reason ?? code})`
}

/** An option's value that has to be a whole number. */
export function wholeNumber(value: string): number {
  if (!/^\d{1,9}$/.test(value)) throw new InvalidArgumentError('It must be a whole number.')
  return Number(value)
}

const millisecondsOf: Readonly<Record<string, number>> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 7 * 86_400_000,
}

/** A point in time: ISO 8601 (a date alone is its first moment in UTC), or a duration from `now` such as `12h` or `30d`. */
export function timeOrDuration(value: string, now = Date.now()): Date {
  const [, count, unit] = /^(\d{1,9})([smhdw])$/.exec(value) ?? []
  if (count !== undefined && unit !== undefined) {
    const time = new Date(now + Number(count) * (millisecondsOf[unit] ?? 0))
    // A Date ends in the year 275760.
    if (Number.isNaN(time.getTime())) throw new InvalidArgumentError('It is longer than any calendar.')
    return time
  }
  return isoTime(
    value,
    'It must be a duration such as 12h or 30d, or a time such as 2030-01-31 or 2030-01-31T12:00:00Z.',
  )
}

/** A point in time in the past: as {@link timeOrDuration}, but a duration counts backwards. */
export function timeOrAge(value: string, now = Date.now()): Date {
  return /^\d{1,9}[smhdw]$/.test(value)
    ? new Date(2 * now - timeOrDuration(value, now).getTime())
    : timeOrDuration(value, now)
}

function isoTime(value: string, refusal: string): Date {
  // Without a zone the time would depend on where the command runs.
  const match = /^(\d{4}-\d{2}-\d{2})(T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2}))?$/.exec(value)
  const time = new Date(value)
  // JavaScript takes 30 February for 1 March.
  const isRealDay = match?.[1] !== undefined && new Date(`${match[1]}T00:00:00Z`).toJSON()?.startsWith(match[1])
  if (!isRealDay || Number.isNaN(time.getTime())) throw new InvalidArgumentError(refusal)
  return time
}
