/** `config check`: the settings of a command, and the files in use. */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { readCaFile } from './ca-file.js'
import { checkSettings } from './check.js'
import { daemonConfig, serveConfig } from './config.js'
import { invalid } from './config-error.js'
import { checkAdminToken, parseEncryptionKeys, secretFiles } from './keys.js'
import type { Settings } from './setting.js'
import { configSetting, daemonSettings, serveSettings } from './settings.js'
import { type Environment, type Flags, readSources } from './sources.js'

/** A setting as `config check` shows it. */
export interface ShownSetting {
  name: string
  /** `set` for a secret; null: the setting is not set and has no default */
  value: string | number | boolean | null
  /** for instance `--port`, `BRIDGE_PORT`, `port in FILE`, `default`, or the path of a secret's file */
  source: string
  /** the file that the setting names, or that takes the place of an unset setting; null: no file */
  file: FileInUse | null
}

/** A file of a command, without the content. */
export interface FileInUse {
  /** absolute */
  path: string
  /** `missing`: `serve` makes the file at the first start */
  state: 'present' | 'missing'
  /** the permissions in octal, such as `600`; null for a missing file */
  mode: string | null
}

/**
 * Returns the settings that a command would use, and checks the files as the command would.
 * @throws as the command itself
 */
export async function shownConfig(
  command: 'serve' | 'daemon',
  flags: Flags,
  environment: Environment,
): Promise<ShownSetting[]> {
  const settings: Settings = { config: configSetting, ...(command === 'serve' ? serveSettings : daemonSettings) }
  const files = command === 'serve' ? secretsInUse(flags, environment) : await authorityInUse(flags, environment)
  const sources = readSources(flags, environment)
  const { values, sources: found } = checkSettings(settings, sources)
  if (sources.file) files.config = fileInUse(sources.file.path)
  return Object.entries(settings).map(([name, { secret }]) => {
    const value = values[name]
    const file = files[name] ?? null
    if (value === undefined) {
      const isInFile = file?.state === 'present'
      return { name, value: isInFile ? 'set' : null, source: isInFile ? file.path : 'not set', file }
    }
    return { name, value: secret === true ? 'set' : shownValue(value), source: found[name] ?? 'default', file }
  })
}

/** Setting → the file that the setting names, or that takes the place of the setting. */
type Files = Record<string, FileInUse>

function secretsInUse(flags: Flags, environment: Environment): Files {
  const { dataDir, adminToken, encryptionKeys } = serveConfig(flags, environment)
  const files: Files = {}
  if (adminToken === undefined) files.adminToken = secretInUse(join(dataDir, secretFiles.adminToken), checkAdminToken)
  if (encryptionKeys === undefined) {
    files.encryptionKey = secretInUse(join(dataDir, secretFiles.encryptionKey), parseEncryptionKeys)
  }
  return files
}

async function authorityInUse(flags: Flags, environment: Environment): Promise<Files> {
  const { caFile } = daemonConfig(flags, environment)
  await readCaFile(caFile)
  return caFile === undefined ? {} : { ca: fileInUse(caFile) }
}

/** @param check throws for a content that is no such secret */
function secretInUse(path: string, check: (text: string, source: string) => unknown): FileInUse {
  const file = fileInUse(path)
  if (file.state === 'missing') return file
  try {
    check(readFileSync(path, 'utf8').trim(), path)
  } catch (error) {
    if (!(error instanceof Error) || !('syscall' in error)) throw error
    throw invalid(`${path}: cannot be read: ${error.message}`, error)
  }
  return file
}

function fileInUse(path: string): FileInUse {
  const stats = statSync(path, { throwIfNoEntry: false })
  if (!stats) return { path, state: 'missing', mode: null }
  return { path, state: 'present', mode: (stats.mode & 0o777).toString(8) }
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
