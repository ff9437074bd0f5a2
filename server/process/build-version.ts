import { existsSync, readFileSync } from 'node:fs'

/** The version of this program, as its package.json has it. */
export function buildVersion(): string {
  // Beside the sources, and one level up from what is built of them.
  const places = ['../../package.json', '../../../package.json'].map(path => new URL(path, import.meta.url))
  const place = places.find(url => existsSync(url))
  if (!place) throw new Error('the program has no package.json')
  return String(Reflect.get(Object(JSON.parse(readFileSync(place, 'utf8'))), 'version'))
}
