/** Which calls are stored together, and what each gets; the database is scripted. */
import { randomUUID } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { Member } from '../../../../server/store/records/member.js'
import { RecordGroups } from '../../../../server/store/records/record-groups.js'
import { connectionLost, SqlError } from '../../../../server/store/sql/sql-error.js'
import { recordLimits } from '../../../../shared/contract/limits.js'
import type { RecordOutcome } from '../../../../shared/contract/recorder.js'
import { ended, interception, promptUsage, tokenUsage } from './records.js'

const ok: RecordOutcome = { ok: true }
const allOk = (members: readonly unknown[]): RecordOutcome[] => members.map(() => ok)

afterEach(() => void vi.useRealTimers())

/** A database whose transactions end when the test says so. */
function held(maxLanes = 1) {
  const running: { ids: string[]; end(error?: Error): Promise<void> }[] = []
  const groups = new RecordGroups(
    members =>
      new Promise((resolve, reject) => {
        running.push({
          ids: members.map(({ stored }) => stored.record.id),
          async end(error) {
            if (error) reject(error)
            else resolve(allOk(members))
            await turn()
            await turn()
          },
        })
      }),
    { maxLanes },
  )
  return { groups, running }
}

const idsOf = (records: readonly { record: { id: string } }[]) => records.map(({ record }) => record.id)

describe('grouping', () => {
  test('a lone call begins at the end of its turn, without a timer', async () => {
    vi.useFakeTimers()
    const { groups, running } = held()
    void groups.record([interception()])
    expect(running.length).toBe(0)
    await turn()
    expect(running.length).toBe(1)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('calls of one turn are one group, and calls that come while it is stored are the next, in order', async () => {
    const { groups, running } = held()
    const records = Array.from({ length: 6 }, () => interception())
    const calls = records.slice(0, 2).map(record => groups.record([record]))
    await turn()
    calls.push(groups.record(records.slice(2, 5)))
    await turn()
    calls.push(groups.record(records.slice(5)))
    await turn()
    expect(running.map(({ ids }) => ids)).toEqual([idsOf(records.slice(0, 2))])
    await running[0]?.end()
    expect(running.map(({ ids }) => ids)).toEqual([idsOf(records.slice(0, 2)), idsOf(records.slice(2))])
    await running[1]?.end()
    expect(await Promise.all(calls)).toEqual([[ok], [ok], [ok, ok, ok], [ok]])
  })

  test('a call without records has no outcomes, and needs no group', async () => {
    const { groups, running } = held()
    expect(await groups.record([])).toEqual([])
    await turn()
    expect(running.length).toBe(0)
  })

  test('a group has at most as many records, and as much text, as one batch may have', async () => {
    const { groups, running } = held()
    const few = Array.from({ length: 11 }, () => Array.from({ length: 50 }, () => interception()))
    const large = Array.from({ length: 3 }, () => [
      promptUsage(randomUUID(), { prompt: 'x'.repeat(recordLimits.maxBatchBytes / 2 - 1_000) }),
    ])
    const over = [promptUsage(randomUUID(), { prompt: 'x'.repeat(recordLimits.maxBatchBytes) })]
    for (const records of [...few, ...large, over]) void groups.record(records)
    await turn()
    for (let group = 0; group < 4; group++) await running[group]?.end()
    expect(running.map(({ ids }) => ids.length)).toEqual([500, 50 + 1, 2, 1])
  })
})

describe('outcomes', () => {
  test('each call gets the outcomes of its own records', async () => {
    const groups = new RecordGroups(
      async members =>
        members.map(({ stored }) => ({ ok: false, code: 'CONFLICT', message: stored.record.id }) as const),
      { maxLanes: 1 },
    )
    const calls = [1, 3, 2].map(length => Array.from({ length }, () => interception()))
    const outcomes = await Promise.all(calls.map(records => groups.record(records)))
    expect(outcomes.map(list => list.map(outcome => !outcome.ok && outcome.message))).toEqual(calls.map(idsOf))
  })

  test.each([
    ['a lost connection', new SqlError({ message: 'lost', code: connectionLost })],
    ['a full disk', new SqlError({ message: 'full', code: '53100' })],
    ['a dead thread', new Error('the database thread ended')],
  ])(
    'a failure that is about no record, such as %s, rejects every call of the group at once, and no later one',
    async (_, error) => {
      const { groups, running } = held()
      const calls = Promise.allSettled([
        groups.record([interception()]),
        groups.record([interception(), interception()]),
      ])
      await turn()
      const later = groups.record([interception()])
      await running[0]?.end(error)
      expect(await calls).toEqual(Array(2).fill({ status: 'rejected', reason: error }))
      await running[1]?.end()
      expect(await later).toEqual([ok])
      expect(running.length).toBe(2)
    },
  )

  test('of any calls with faulty records each gets its own outcomes, and every good record is stored once, in order', async () => {
    const call = fc.array(fc.constantFrom('good', 'good', 'good', 'faulty'), { minLength: 1, maxLength: 6 })
    await fc.assert(
      fc.asyncProperty(fc.array(call, { minLength: 1, maxLength: 6 }), async calls => {
        const faulty = new Set<string>()
        const stored: string[] = []
        const groups = new RecordGroups(
          async members => {
            if (members.some(member => faulty.has(idOf(member)))) throw new SqlError({ message: 'no', code: '22P05' })
            stored.push(...members.map(idOf))
            return allOk(members)
          },
          { maxLanes: 1 },
        )
        const records = calls.map(kinds =>
          kinds.map(kind => {
            const record = interception()
            if (kind === 'faulty') faulty.add(record.record.id)
            return record
          }),
        )
        const outcomes = await Promise.all(records.map(list => groups.record(list)))
        expect(outcomes).toEqual(
          records.map(list =>
            list.map(({ record: { id } }) =>
              faulty.has(id) ? { ok: false, code: 'BAD_REQUEST', message: expect.stringContaining(id) } : ok,
            ),
          ),
        )
        expect(stored).toEqual(idsOf(records.flat()).filter(id => !faulty.has(id)))
      }),
      { numRuns: 50 },
    )
  })

  test('a record that fails for another reason than its content rejects its own call alone', async () => {
    const error = new SqlError({ message: 'could not read block 3', code: 'XX001' })
    const [broken, good] = [interception(), interception()]
    const groups = new RecordGroups(
      async members => {
        if (members.some(member => idOf(member) === broken.record.id)) throw error
        return allOk(members)
      },
      { maxLanes: 1 },
    )
    const [rejected, stored] = [groups.record([interception(), broken]), groups.record([good])]
    // The other record of the call is stored.
    await expect(rejected).rejects.toMatchObject({ code: 'XX001', mayHaveCommitted: true })
    expect(await stored).toEqual([ok])
  })

  test('a commit before the search by halves is not forgotten by the failure of a half', async () => {
    const committed = new Set<string>()
    const groups = new RecordGroups(
      async members => {
        const [first] = members
        const mayHaveCommitted = members.length > 1
        if (mayHaveCommitted && first) committed.add(idOf(first))
        throw new SqlError({ message: 'could not read block 3', code: 'XX001', mayHaveCommitted })
      },
      { maxLanes: 1 },
    )
    const record = interception()
    const calls = [groups.record([record]), groups.record([interception()])]
    // Of the calls of a group none can know whose part was committed.
    for (const call of calls) void call.catch(() => undefined)
    for (const call of calls) await expect(call).rejects.toMatchObject({ code: 'XX001', mayHaveCommitted: true })
    expect([...committed]).toEqual([record.record.id])
  })

  test('of any transactions that fail between commits no call with a stored record fails as if nothing were stored', async () => {
    const calls = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 })
    const code = fc.constantFrom('XX001', 'XX001', 'XX001', 'P0001', connectionLost, undefined)
    const commits = fc.constantFrom(0, 0, 0, 1, 2)
    const transactions = fc.array(fc.record({ code, commits }), { minLength: 3, maxLength: 12, size: 'max' })
    await fc.assert(
      fc.asyncProperty(calls, transactions, async (lengths, script) => {
        const committed = new Set<string>()
        let next = 0
        const groups = new RecordGroups(
          async members => {
            const { code, commits } = script[next++] ?? { code: undefined, commits: 0 }
            const stored = code === undefined ? members : members.slice(0, commits)
            for (const member of stored) committed.add(idOf(member))
            if (code !== undefined) throw new SqlError({ message: 'no', code, mayHaveCommitted: commits > 0 })
            return allOk(members)
          },
          { maxLanes: 1 },
        )
        const records = lengths.map(length => Array.from({ length }, () => interception()))
        const results = await Promise.allSettled(records.map(list => groups.record(list)))
        const unstored = records.filter((_, index) => {
          const result = results[index]
          return result?.status === 'rejected' && !result.reason.mayHaveCommitted
        })
        expect(unstored.flatMap(idsOf).filter(id => committed.has(id))).toEqual([])
      }),
      { numRuns: 200 },
    )
  })
})

describe('lanes', () => {
  test('a group that hangs stops no others: calls that have waited get a lane of their own, up to the limit', async () => {
    vi.useFakeTimers()
    const { groups, running } = held(3)
    void groups.record([interception()])
    await turn()
    expect(running.length).toBe(1)
    for (const lanes of [2, 3]) {
      void groups.record([interception()])
      await vi.advanceTimersByTimeAsync(9)
      expect(running.length).toBe(lanes - 1)
      await vi.advanceTimersByTimeAsync(1)
      expect(running.length).toBe(lanes)
    }
    void groups.record([interception()])
    await vi.advanceTimersByTimeAsync(1_000)
    expect(running.length).toBe(3)
    await running[1]?.end()
    expect(running.length).toBe(4)
  })

  test('a store with one lane opens no other', async () => {
    vi.useFakeTimers()
    const { groups, running } = held(1)
    for (let call = 0; call < 2; call++) {
      void groups.record([interception()])
      await turn()
      await vi.advanceTimersByTimeAsync(1_000)
    }
    expect(running.length).toBe(1)
  })

  test('calls about one interception keep their order over all lanes, and others pass them', async () => {
    vi.useFakeTimers()
    const { groups, running } = held(3)
    const first = interception()
    const { id } = first.record
    const [usage, end, other] = [tokenUsage(id), ended(id), interception()]
    void groups.record([first])
    await turn()
    for (const record of [usage, end, other]) void groups.record([record])
    await vi.advanceTimersByTimeAsync(10)
    expect(running.map(({ ids }) => ids)).toEqual([[id], [other.record.id]])
    await vi.advanceTimersByTimeAsync(100)
    expect(running.length).toBe(2)
    await running[0]?.end()
    expect(running[2]?.ids).toEqual([usage.record.id, id])
  })
})

function idOf({ stored }: Member): string {
  return stored.record.id
}
