import { existsSync, readFileSync } from 'node:fs'

/** Returns the version of this program, from package.json. */
export function buildVersion(): string {
  // package.json lies beside the sources, and one level above the built files.
  const places = ['../../package.json', '../../../package.json'].map(path => new URL(path, import.meta.url))
  const place = places.find(url => existsSync(url))
  if (!place) throw new Error('the program has no package.json')
  return String(Reflect.get(Object(JSON.parse(readFileSync(place, 'utf8'))), 'version'))
}
