/** Audit entries about operators who read chats of users. */
import { expect, test } from 'vitest'
import { ReadTrace } from '../../../../server/services/chats/read-trace.js'
import type { AuditEntry, TransactionTables } from '../../../../server/store/store.js'

const minute = 60_000
const read = { actor: 'ops', action: 'chats.read', target: 'a', details: { userId: 'ada' } } as const

/** A trace with a store that keeps the entries, and with a clock. */
function tracer() {
  const entries: AuditEntry[] = []
  const faults: string[] = []
  const clock = { nowMs: 0 }
  const trace = new ReadTrace({
    clockMs: () => clock.nowMs,
    store: {
      async audited(work, entryOf) {
        const result = await work({} as TransactionTables) // no table is used
        const fault = faults.pop()
        if (fault) throw new Error(fault)
        const entry = entryOf(result)
        if (entry) entries.push(entry)
        return result
      },
    },
  })
  return { entries, faults, clock, trace }
}

test('reads of one operator and chat add one entry a minute', async () => {
  const { entries, clock, trace } = tracer()
  await trace.note(read)
  expect(entries).toEqual([read])
  await Promise.all([trace.note(read), trace.note(read)])
  clock.nowMs = minute - 1
  await trace.note(read)
  expect(entries).toHaveLength(1)
  clock.nowMs = minute
  await Promise.all([trace.note(read), trace.note(read)])
  expect(entries).toEqual([read, read])
})

test('another operator, another chat and a list have entries of their own', async () => {
  const { entries, trace } = tracer()
  const list = { ...read, action: 'chats.list', target: null } as const
  const reads = [read, { ...read, actor: 'audit' }, { ...read, target: 'b' }, list, { ...list, details: null }]
  for (const each of [...reads, ...reads]) await trace.note(each)
  expect(entries).toEqual(reads)
})

test('a read whose entry is not stored fails, with the reads beside it, and the next one is stored', async () => {
  const { entries, faults, trace } = tracer()
  faults.push('the store failed')
  const both = await Promise.allSettled([trace.note(read), trace.note(read)])
  expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  await trace.note(read)
  expect(entries).toEqual([read])
})
