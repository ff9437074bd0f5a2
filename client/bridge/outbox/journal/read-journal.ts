import type { RecoveredKey } from './journal.js'
import { type JournalFiles, nodeFiles } from './journal-files.js'
import { recover } from './recovery.js'

/** The content of a journal. */
export interface JournalContent {
  /** in the order of the keys' first entries */
  keys: RecoveredKey[]
  /** the size of all segments */
  bytes: number
}

/** Reads the journal of a folder, which another process may be writing; nothing in the folder is changed. */
export async function readJournal(folder: string): Promise<JournalContent> {
  const { payloads, segments } = await recover({ folder, files: readOnly, logger: silent })
  const keys = [...payloads].map(([key, slots]) => ({ key, slots }))
  return { keys, bytes: segments.reduce((sum, { bytes }) => sum + bytes, 0) }
}

const rejected = () => Promise.reject(Object.assign(new Error('the journal is only read'), { code: 'EEXIST' }))

/** Files of which damage is not set aside or cut off: that is left to the process that owns the journal. */
const readOnly: JournalFiles = { ...nodeFiles, create: rejected, open: rejected, rename: async () => {} }

const silent = { debug() {}, info() {}, warn() {}, error() {} }
