import { onTestFinished } from 'vitest'
import {
  type Journal,
  type OpenJournalOptions,
  openJournal,
} from '../../../../../client/bridge/outbox/journal/journal.js'

/** Opens a journal, and closes it after the test, also one of a dead process: it would go on for ever. */
export async function openForTest(options: OpenJournalOptions): Promise<Journal> {
  const journal = await openJournal(options)
  onTestFinished(() => journal.close())
  return journal
}
