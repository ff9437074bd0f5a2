import { readdir } from 'node:fs/promises'

/** Returns the names of the files in an outbox's folder that hold damaged parts of its journal, set aside. */
export async function damagedIn(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter(name => name.startsWith('damaged-'))
}
