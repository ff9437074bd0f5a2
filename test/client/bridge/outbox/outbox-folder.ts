/** An outbox on disk as a stopped bridge leaves it. */
import { randomUUID } from 'node:crypto'
import { openJournalOutbox } from '../../../../client/bridge/outbox/journal-outbox.js'
import type { Outbox, SendRecords } from '../../../../client/bridge/outbox/outbox.js'
import type { BatchRecord } from '../../../../shared/contract/recorder.js'
import { silentLogger } from '../../../fixtures/stores.js'
import { testOwner } from '../scripted-control-plane.js'

const at = new Date('2026-01-02T03:04:05.678Z')

/** The records of an interception: its beginning, one token usage, and its end. */
export function recordsOf(id: string) {
  const interception: BatchRecord<'interception'> = {
    kind: 'interception',
    id,
    initiatorId: testOwner.ownerId,
    apiKeyId: testOwner.apiKeyId,
    provider: 'openai',
    model: 'm',
    startedAt: at,
  }
  const tokens: BatchRecord = {
    kind: 'tokenUsage',
    id: randomUUID(),
    interceptionId: id,
    msgId: 'm',
    inputTokens: 1,
    outputTokens: 2,
    cacheReadInputTokens: 0,
    cacheWriteInputTokens: 0,
    createdAt: at,
  }
  const end: BatchRecord = { kind: 'interceptionEnded', id, endedAt: at }
  return { interception, tokens, end }
}

/** Opens an outbox whose control plane rejects token usages for good, and does not respond after `silence()`. */
export async function openRejected(folder: string): Promise<{ outbox: Outbox; silence(): void }> {
  let isSilent = false
  const send: SendRecords = (records, signal) =>
    isSilent
      ? new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      : Promise.resolve(
          records.map(({ kind }) =>
            kind === 'tokenUsage' ? { ok: false, code: 'BAD_REQUEST', message: 'too many tokens' } : { ok: true },
          ),
        )
  const outbox = await openJournalOutbox({ folder, send, daemonInstance: randomUUID(), logger: silentLogger })
  return {
    outbox,
    silence() {
      isSilent = true
    },
  }
}

/** Fills an outbox: one dead letter, one interception whose records wait, one under way; and leaves it open. */
export async function fillOutbox(folder: string): Promise<Outbox> {
  const { outbox, silence } = await openRejected(folder)
  const [rejected, waiting, underWay] = [recordsOf(randomUUID()), recordsOf(randomUUID()), recordsOf(randomUUID())]
  await outbox.begin(rejected.interception, [rejected.end])
  await outbox.put([rejected.tokens, rejected.end])
  await outbox.flush()
  silence()
  await outbox.begin(waiting.interception, [waiting.end])
  await outbox.put([waiting.tokens, waiting.end])
  await outbox.begin(underWay.interception, [underWay.end])
  return outbox
}
