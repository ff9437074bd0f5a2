/** Apart from chromium.ts: the configuration of the tests imports this, and need not load the driver. */
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

const names = ['chromium', 'chromium-browser', 'google-chrome']

/** The path of a Chromium: that of the variable CHROMIUM, or the first on the PATH. */
export function findChromium({ CHROMIUM, PATH = '' }: NodeJS.ProcessEnv = process.env): string | undefined {
  if (CHROMIUM) return CHROMIUM
  const places = names.flatMap(name => PATH.split(delimiter).map(folder => join(folder, name)))
  return places.find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Why browser tests did not run, and how they will. */
export const withoutChromium =
  `browser tests were not run: no Chromium found (looked for CHROMIUM and, on the PATH, for ${names.join(', ')}). ` +
  'On Debian and Ubuntu: apt-get update && apt-get install -y chromium'
