/** Records as a service hands them to a store, with as little said as a test needs. */
import { createHash, randomUUID } from 'node:crypto'
import type { NormalRecord, StoredRecord } from '../../../../server/store/store.js'
import type { RecordKind } from '../../../../shared/contract/record-kinds.js'
import type { CheckedRecord } from '../../../../shared/contract/recorder.js'

export const someTime = new Date('2026-03-04T05:06:07.089Z')

/** The time `seconds` after {@link someTime}. */
export function secondsLater(seconds: number): Date {
  return new Date(someTime.getTime() + seconds * 1000)
}

export function stored<K extends RecordKind>(kind: K, record: NormalRecord<K>): StoredRecord & { kind: K } {
  const contentHash = createHash('sha256').update(JSON.stringify(record)).digest()
  return { kind, record, contentHash } as StoredRecord & { kind: K } // the compiler does not tie the two uses of K together
}

export function interception(fields: Partial<NormalRecord<'interception'>> = {}) {
  return stored('interception', {
    id: randomUUID(),
    initiatorId: randomUUID(),
    apiKeyId: 'abcdefghij',
    provider: 'anthropic',
    providerName: 'anthropic',
    model: 'claude-test',
    startedAt: someTime,
    credentialKind: 'centralized',
    ...fields,
  })
}

export function ended(id: string, fields: Partial<CheckedRecord<'interceptionEnded'>> = {}) {
  return stored('interceptionEnded', { id, endedAt: secondsLater(1), ...fields })
}

export function tokenUsage(interceptionId: string, fields: Partial<CheckedRecord<'tokenUsage'>> = {}) {
  return stored('tokenUsage', {
    id: randomUUID(),
    interceptionId,
    msgId: 'msg_1',
    inputTokens: 1,
    outputTokens: 2,
    cacheReadInputTokens: 3,
    cacheWriteInputTokens: 4,
    createdAt: someTime,
    ...fields,
  })
}

export function promptUsage(interceptionId: string, fields: Partial<CheckedRecord<'promptUsage'>> = {}) {
  return stored('promptUsage', {
    id: randomUUID(),
    interceptionId,
    msgId: 'msg_1',
    prompt: 'hello',
    createdAt: someTime,
    ...fields,
  })
}

export function toolUsage(interceptionId: string, fields: Partial<CheckedRecord<'toolUsage'>> = {}) {
  return stored('toolUsage', {
    id: randomUUID(),
    interceptionId,
    msgId: 'msg_1',
    tool: 'bash',
    input: '{}',
    injected: false,
    createdAt: someTime,
    ...fields,
  })
}

export function modelThought(interceptionId: string, fields: Partial<CheckedRecord<'modelThought'>> = {}) {
  return stored('modelThought', { id: randomUUID(), interceptionId, content: 'hm', createdAt: someTime, ...fields })
}

/** One of each kind of child, with other content for each `variant`. */
export function children(interceptionId: string, ids: readonly string[], variant = 0) {
  const [a = '', b = '', c = '', d = ''] = ids
  return [
    tokenUsage(interceptionId, { id: a, inputTokens: variant }),
    promptUsage(interceptionId, { id: b, prompt: `prompt ${variant}` }),
    toolUsage(interceptionId, { id: c, input: `input ${variant}` }),
    modelThought(interceptionId, { id: d, content: `thought ${variant}` }),
  ]
}
