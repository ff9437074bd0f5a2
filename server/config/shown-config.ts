/** `config check`: the settings that a command would run with, and the files that are in use. */
import { statSync } from 'node:fs'
import { checkSettings } from './check.js'
import { serveConfig } from './config.js'
import type { Settings } from './setting.js'
import { daemonSettings, serveSettings } from './settings.js'
import { type Environment, type Flags, readSources } from './sources.js'

/** A setting as `config check` shows it. */
export interface ShownSetting {
  name: string
  /** `set` for a secret; null: the setting is not set and has no default */
  value: string | number | boolean | null
  /** for instance `--port`, `BRIDGE_PORT`, `port in FILE`, `default` */
  source: string
}

/**
 * Returns the settings that a command would run with.
 * @throws as the command itself
 */
export function shownConfig(command: 'serve' | 'daemon', flags: Flags, environment: Environment): ShownSetting[] {
  if (command === 'serve') serveConfig(flags, environment)
  const settings: Settings = command === 'serve' ? serveSettings : daemonSettings
  const { values, sources } = checkSettings(settings, readSources(flags, environment))
  return Object.entries(settings).map(([name, { secret }]) => {
    const value = values[name]
    const shown = value === undefined ? null : secret === true ? 'set' : shownValue(value)
    return { name, value: shown, source: sources[name] ?? (value === undefined ? 'not set' : 'default') }
  })
}

function shownValue(value: unknown): string | number | boolean {
  if (value === 'true' || value === 'false') return value === 'true'
  return typeof value === 'number' ? value : String(value)
}

/** Warns of a configuration file with secrets that other users of the machine can read; undefined if there is none. */
export function fileWarning(flags: Flags, environment: Environment): string | undefined {
  const { file } = readSources(flags, environment)
  if (!file) return undefined
  const settings: Settings = { ...serveSettings, ...daemonSettings }
  const secrets = Object.keys(file.values).filter(name => Object.hasOwn(settings, name) && settings[name]?.secret)
  const mode = statSync(file.path).mode & 0o777
  if (secrets.length === 0 || (mode & 0o077) === 0) return undefined
  return `${file.path} holds ${secrets.join(', ')} and other users may read it (mode ${mode.toString(8)}): chmod 600 ${file.path}`
}
