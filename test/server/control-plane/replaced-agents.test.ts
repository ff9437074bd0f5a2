import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { ReplacedAgents } from '../../../server/control-plane/replaced-agents.js'
import type { AuditEntry, TransactionTables } from '../../../server/store/store.js'
import { silentLogger } from '../../../shared/values/log.js'

const minute = 60_000

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** The replacements of agents, with a store that keeps the entries. */
function recorder() {
  const entries: AuditEntry[] = []
  const faults: string[] = []
  const replaced = new ReplacedAgents({
    logger: silentLogger,
    store: {
      async audited(work, entryOf) {
        const result = await work({} as TransactionTables) // no table is used
        const entry = entryOf(result)
        const fault = entry && faults.pop()
        if (fault) throw new Error(fault)
        if (entry) entries.push(entry)
        return result
      },
    },
  })
  let epoch = 0
  const instances = new Map<string, string>()
  /** Connects another process with the key of an agent. */
  async function connect(agentId = 'a', instance: string = randomUUID()): Promise<string> {
    await replaced.recordConnected({ agentId, name: agentId, instance }, async () => ({
      epoch: ++epoch,
      replaced: instances.get(agentId) ?? null,
    }))
    instances.set(agentId, instance)
    return instance
  }
  return { entries, faults, replaced, connect }
}

test('a flood of processes with one key adds an entry a minute, which counts the others and names the last', async () => {
  const { entries, connect } = recorder()
  const one = await connect()
  const two = await connect()
  expect(entries).toEqual([
    { actor: 'a', action: 'agents.replaced', target: 'a', details: { instance: two, replaced: one } },
  ])
  for (let n = 0; n < 98; n++) await connect()
  const previous = await connect()
  const last = await connect()
  await connect('b')
  await connect('b')
  expect(entries.map(({ target }) => target)).toEqual(['a', 'b'])
  await vi.advanceTimersByTimeAsync(minute)
  expect(entries).toHaveLength(3)
  expect(entries[2]).toMatchObject({ target: 'a', details: { instance: last, replaced: previous, others: 99 } })
})

test('replacements a minute apart have entries of their own, and a process that comes again has none', async () => {
  const { entries, connect } = recorder()
  await connect()
  const instance = await connect()
  await connect('a', instance)
  await vi.advanceTimersByTimeAsync(minute)
  expect(entries).toHaveLength(1)
  await connect()
  expect(entries).toHaveLength(2)
  expect(entries[1]?.details).not.toHaveProperty('others')
  await vi.advanceTimersByTimeAsync(minute)
  expect(entries).toHaveLength(2)
  expect(vi.getTimerCount()).toBe(0)
})

test('the end of the process adds the entries that are due later', async () => {
  const { entries, replaced, connect } = recorder()
  for (let n = 0; n < 3; n++) await connect()
  expect(entries).toHaveLength(1)
  await replaced.stop()
  expect(entries).toHaveLength(2)
  expect(vi.getTimerCount()).toBe(0)
})

test('an entry that could not be stored is added a minute later, with all that happened meanwhile', async () => {
  const { entries, faults, connect } = recorder()
  for (let n = 0; n < 4; n++) await connect()
  faults.push('the store is away')
  await vi.advanceTimersByTimeAsync(minute)
  expect(entries).toHaveLength(1)
  const last = await connect()
  await vi.advanceTimersByTimeAsync(minute)
  expect(entries.at(-1)?.details).toMatchObject({ instance: last, others: 2 })
})
