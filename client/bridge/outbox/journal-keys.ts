/**
 * The keys of an outbox's journal:
 *
 * - an interception's id, with the slots `start` (the interception, and its records if the process dies), `progress`
 *   (such records with the tokens so far) and `finished` (the records of the response and the end)
 * - `letter:NAME`: a dead letter that is sent again
 * - `outbox`, with the slot `id`: the id of the outbox
 * - `instance:UUID`: a process that used the journal, until the control plane knows that it is gone
 */
import type { RecoveredKey } from './journal/journal.js'

const idKey = 'outbox'
const idSlot = 'id'
const instancePrefix = 'instance:'
const letterPrefix = 'letter:'

/** Where the id of the outbox stands. */
export const idEntry = [idKey, idSlot] as const

/** Returns the key of a process that uses the journal. */
export function instanceKey(instance: string): string {
  return instancePrefix + instance
}

/** Returns the key of a dead letter that is sent again. */
export function letterKey(name: string): string {
  return letterPrefix + name
}

/** The keys of a journal when it was opened. */
export interface FoundKeys {
  /** the id of the outbox */
  id: string | undefined
  /** the processes that used the journal before */
  instances: string[]
  /** the keys with records */
  withRecords: RecoveredKey[]
}

/** Sorts the keys of a journal. */
export function sortKeys(recovered: readonly RecoveredKey[]): FoundKeys {
  const found: FoundKeys = { id: undefined, instances: [], withRecords: [] }
  for (const entry of recovered) {
    const { key, slots } = entry
    if (key === idKey) found.id = slots.get(idSlot)?.toString()
    else if (key.startsWith(instancePrefix)) found.instances.push(key.slice(instancePrefix.length))
    else found.withRecords.push(entry)
  }
  return found
}
