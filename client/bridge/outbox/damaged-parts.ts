/** Parts of an outbox's journal that could not be read, as files that were set aside. Nobody can say whose they are. */
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

const prefix = 'damaged-'

/** Returns the names of the files, in the outbox's own folder. */
export async function damagedIn(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter(name => name.startsWith(prefix))
}

/** Removes the files, and returns their number. */
export async function removeDamaged(folder: string): Promise<number> {
  const names = await damagedIn(folder)
  for (const name of names) await rm(join(folder, name), { force: true })
  return names.length
}
