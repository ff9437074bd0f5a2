import { basename, dirname, join } from 'node:path'
import type { Logger } from '../../../../shared/values/log.js'
import type { JournalFiles } from './journal-files.js'
import type { Segment } from './segment.js'
import type { DamagedPart } from './segment-reader.js'
import { WholeWrites } from './whole-writes.js'

const damagedPrefix = 'damaged-segment-'

/**
 * Copies a damaged part of a segment to a file of its own, with the reason in the log. The same part is copied and
 * reported once.
 */
export async function setAside(
  segment: Segment,
  bytes: Buffer,
  { at, end, damage }: DamagedPart,
  { files, logger }: { files: JournalFiles; logger: Logger },
): Promise<void> {
  const copy = `${damagedName(segment)}-${at}`
  const fields = { file: segment.path, at, bytes: end - at, damage, copy }
  try {
    if (await keep(copy, bytes.subarray(at, end), files))
      logger.error(fields, 'a damaged part of the journal was set aside')
  } catch (error) {
    logger.error({ ...fields, err: error }, 'a damaged part of the journal could not be set aside')
  }
}

/** Returns the path that a segment gets if it is of no use. */
export function damagedName({ path }: Segment): string {
  return join(dirname(path), `damaged-${basename(path)}`)
}

/** Deletes all that was set aside in a folder. */
export async function removeDamaged({ folder, files }: { folder: string; files: JournalFiles }): Promise<void> {
  for (const name of await files.list(folder))
    if (name.startsWith(damagedPrefix)) await files.remove(join(folder, name))
}

/** Writes a file. Returns false if it exists. */
async function keep(path: string, bytes: Buffer, files: JournalFiles): Promise<boolean> {
  const file = await files.create(path).catch((error: unknown) => {
    if (Reflect.get(Object(error), 'code') === 'EEXIST') return undefined
    throw error
  })
  if (!file) return false
  try {
    await new WholeWrites().write(file, bytes, bytes.length, 0)
    return true
  } catch (error) {
    await files.remove(path)
    throw error
  } finally {
    await file.close()
  }
}
