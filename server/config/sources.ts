/** The sources of settings: flags win over variables, and variables over the configuration file. */
import { readFileSync } from 'node:fs'
import { isPlainObject } from '../../shared/values/text.js'
import { invalid } from './config-error.js'
import { absolutePath, flagOf, type Setting } from './setting.js'
import { configSetting } from './settings.js'

/** The variables of a process, such as `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>
/** The flags of a command, by their names in camel case. */
export type Flags = Readonly<Record<string, unknown>>

/** All places of settings, the strongest first. */
export interface Sources {
  flags: Flags
  environment: Environment
  file?: ConfigFile | undefined
}

/** The content of a configuration file. */
export interface ConfigFile {
  /** absolute */
  path: string
  /** the flag or variable that names the file */
  source: string
  values: Readonly<Record<string, unknown>>
}

/**
 * A setting's text, and the source: `--port`, `BRIDGE_PORT` or `port in FILE`. Both are undefined for an unset setting.
 */
export interface FoundValue {
  value?: string
  source?: string
}

/**
 * Reads the file that `--config` or `BRIDGE_CONFIG` names, if any.
 * @throws RpcError `BAD_REQUEST` (config_invalid) for a file that cannot be read or holds no JSON object, without its
 *   content
 */
export function readSources(flags: Flags, environment: Environment): Sources {
  const { value, source } = findValue('config', configSetting, { flags, environment })
  return { flags, environment, file: source === undefined ? undefined : readConfigFile(value ?? '', source) }
}

/** Returns a setting's text from the strongest source. An empty variable counts as unset. */
export function findValue(
  name: string,
  { variables, flag }: Setting,
  { flags, environment, file }: Sources,
): FoundValue {
  if (flags[name] !== undefined) return { value: String(flags[name]), source: givenFlag(name, flags[name], flag) }
  const variable = variables.find(variable => environment[variable])
  if (variable !== undefined) return { value: environment[variable] ?? '', source: variable }
  if (!file || !Object.hasOwn(file.values, name)) return {}
  const value = file.values[name]
  const isScalar = ['string', 'number', 'boolean'].includes(typeof value)
  return { value: isScalar ? String(value) : JSON.stringify(value), source: `${name} in ${file.path}` }
}

function givenFlag(name: string, value: unknown, flag: Setting['flag']): string {
  return value === false ? flagOf(name, flag) : flagOf(name)
}

function readConfigFile(given: string, source: string): ConfigFile {
  const path = absolutePath(given)
  let values: unknown
  try {
    values = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    // JSON.parse's own message quotes the text, which may hold secrets.
    const words =
      error instanceof SyntaxError ? 'it is no JSON' : error instanceof Error ? error.message : String(error)
    throw invalid(`${source} ${JSON.stringify(given)}: cannot be read: ${words}`, error)
  }
  if (isPlainObject(values)) return { path, source, values }
  throw invalid(`${source} ${JSON.stringify(given)}: must hold a JSON object of settings, such as {"port": 4100}`)
}
