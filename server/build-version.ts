import { readFileSync } from 'node:fs'

/** The version of this program, as its package.json has it. */
export function buildVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return String(Reflect.get(Object(JSON.parse(text)), 'version'))
}
