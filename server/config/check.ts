/** Checks settings against their declarations. */
import { invalid } from './config-error.js'
import { flagOf, type Settings, type Values } from './setting.js'
import { findValue, type Sources } from './sources.js'

/** Settings that passed their check. */
export interface Checked<S extends Settings> {
  values: Values<S>
  /** where each value stands; undefined for a default */
  sources: { readonly [K in keyof S]: string | undefined }
}

/**
 * Finds each setting's value and checks it.
 * @param inFile names that the configuration file may hold; by default those of `settings`
 * @throws RpcError `BAD_REQUEST` (config_invalid) with every problem at once. Each problem has the setting's source,
 *   and the value if the setting is no secret
 */
export function checkSettings<S extends Settings>(
  settings: S,
  sources: Sources,
  inFile: Settings = settings,
): Checked<S> {
  const values: Record<string, unknown> = {}
  const found: Record<string, string | undefined> = {}
  const problems: string[] = []
  for (const [name, setting] of Object.entries(settings)) {
    const { value, source } = findValue(name, setting, sources)
    found[name] = source
    const result = setting.schema.safeParse(value)
    if (result.success) values[name] = result.data
    else {
      const shown = setting.secret || value === undefined ? '' : ` ${JSON.stringify(value)}`
      const words = result.error.issues.map(({ message }) => message).join(', ')
      problems.push(`${source ?? flagOf(name)}${shown}: ${words}`)
    }
  }
  const { file } = sources
  const unknown = Object.keys(file?.values ?? {}).filter(name => !Object.hasOwn(inFile, name))
  if (file && unknown.length > 0) {
    const known = Object.keys(inFile).join(', ')
    problems.push(`${unknown.join(', ')} in ${file.path}: no such setting; there are ${known}`)
  }
  if (problems.length > 0) throw invalid(problems.join('; '))
  // Each value is the output of its setting's schema, and each source stands under its setting's name.
  return { values: values as Values<S>, sources: found as Checked<S>['sources'] }
}
