import { readdir } from 'node:fs/promises'
import { holderOf } from '../../../shared/files/folder-lock.js'
import { DeadLetters } from './dead-letters.js'
import { readJournal } from './journal/read-journal.js'
import { recordsOfText } from './record-text.js'

/** The state of an outbox on disk. */
export interface OutboxState {
  /** absolute path */
  folder: string
  /** id of the process that uses the outbox; null without one */
  pid: number | null
  /** interceptions that have begun and not ended */
  underWay: number
  /** interceptions whose records wait for the control plane */
  waiting: number
  /** their records */
  records: number
  /** size of the journal */
  bytes: number
  /** number of records that the control plane rejected for good */
  deadLetters: number
  /** number of these that are sent again as soon as a process uses the outbox */
  retries: number
  /** files with parts of the journal that could not be read */
  damaged: string[]
}

/** Reads the state of an outbox, also while a process uses it. */
export async function inspectOutbox(folder: string): Promise<OutboxState> {
  const holder = await holderOf(folder)
  const { keys, bytes } = await readJournal(folder)
  const interceptions = keys.filter(({ slots }) => slots.has('start') || slots.has('finished'))
  const finished = interceptions.filter(({ slots }) => slots.has('finished'))
  const letters = new DeadLetters(folder)
  return {
    folder,
    pid: holder?.pid ?? null,
    underWay: interceptions.length - finished.length,
    waiting: finished.length,
    records: finished.reduce((sum, { slots }) => sum + recordsIn(slots.get('finished')), 0),
    bytes,
    deadLetters: (await letters.list()).length,
    retries: (await letters.retries()).length,
    damaged: (await readdir(folder)).filter(name => name.startsWith('damaged-')),
  }
}

/** Returns the number of records in an entry; 0 for one that this version cannot read. */
function recordsIn(text: Buffer | undefined): number {
  try {
    return text === undefined ? 0 : recordsOfText(text).sized.length
  } catch {
    return 0
  }
}
