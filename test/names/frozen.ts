/** The frozen lists of names that leave the process, one file a list and one name a line, in `frozen/`. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'

/** The difference between a frozen list and the names of the code. */
export interface NameChanges {
  added: string[]
  removed: string[]
}

/** Returns the names that are new since a list was frozen, and those that are gone. A renamed name is both. */
export function changesOf(frozen: readonly string[], current: readonly string[]): NameChanges {
  return {
    added: current.filter(name => !frozen.includes(name)),
    removed: frozen.filter(name => !current.includes(name)),
  }
}

/**
 * Compares names with their frozen list. With `FREEZE_NAMES=add` (`npm run names`) new names are added to the list
 * first. No command removes a name: dashboards, scripts and queries of users depend on it.
 */
export function expectFrozen(list: string, names: Iterable<string>): void {
  const file = join(import.meta.dirname, 'frozen', `${list}.txt`)
  const current = [...new Set(names)].sort()
  if (process.env.FREEZE_NAMES === 'add') write(file, [...read(file), ...current])
  const help =
    `Names that leave the process differ from test/names/frozen/${list}.txt. Add new names with \`npm run names\`. ` +
    'Keep a name that is gone; if it must go, delete its line and say so in the CHANGELOG.'
  expect(changesOf(read(file), current), help).toEqual({ added: [], removed: [] })
}

function read(file: string): string[] {
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : []
}

function write(file: string, names: readonly string[]): void {
  writeFileSync(file, `${[...new Set(names)].sort().join('\n')}\n`)
}
