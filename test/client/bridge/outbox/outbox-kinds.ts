/** The kinds of outboxes, which pass the same tests. */
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { DeadLetters } from '../../../../client/bridge/outbox/dead-letters.js'
import { openJournalOutbox } from '../../../../client/bridge/outbox/journal-outbox.js'
import { createMemoryOutbox, type MemoryOutboxOptions } from '../../../../client/bridge/outbox/memory-outbox.js'
import type { Outbox } from '../../../../client/bridge/outbox/outbox.js'

/** A kind of outbox. */
export interface OutboxKind {
  name: string
  /** whether the next process hands over what this one leaves */
  isDurable: boolean
  /** Opens one, which is closed after the test; `rejected` returns the ids of its dead letters. */
  open(options: MemoryOutboxOptions): Promise<{ outbox: Outbox; rejected: () => Promise<string[]> }>
}

/** An outbox in memory. */
export const inMemory: OutboxKind = {
  name: 'in memory',
  isDurable: false,
  async open(options) {
    const rejected: string[] = []
    const outbox = createMemoryOutbox({ ...options, deadLetter: record => rejected.push(record.id) })
    onTestFinished(async () => void (await outbox.close({ timeoutMs: 0 })))
    return { outbox, rejected: async () => rejected }
  },
}

const onDisk: OutboxKind = {
  name: 'on disk',
  isDurable: true,
  async open(options) {
    const folder = await outboxFolder()
    const outbox = await openJournalOutbox({ ...options, folder, daemonInstance: randomUUID() })
    onTestFinished(async () => void (await outbox.close({ timeoutMs: 0 })))
    return { outbox, rejected: async () => (await new DeadLetters(folder).list()).map(({ record }) => record.id) }
  },
}

export const outboxKinds = [inMemory, onDisk]

/** Makes a folder for one test. */
export async function outboxFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'outbox-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}
