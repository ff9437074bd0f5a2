/** The browser of these tests: the system's Chromium, driven through its DevTools protocol. */
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { type Browser, chromium } from 'playwright-core'

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

/** Starts a Chromium with a profile of its own, which is removed with its end. */
export function startChromium(executablePath: string): Promise<Browser> {
  return chromium.launch({
    executablePath,
    // Chromium has no sandbox for root.
    chromiumSandbox: process.getuid?.() !== 0,
    args: [
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
    handleSIGINT: false,
    handleSIGTERM: false,
    handleSIGHUP: false,
  })
}
