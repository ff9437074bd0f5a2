/** The journal beside a Map: whatever is put, removed, rejected, killed and opened again, both hold the same. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { frameBytes } from '../../../../../client/bridge/outbox/journal/frame.js'
import type { FsyncMode } from '../../../../../client/bridge/outbox/journal/segments.js'
import { fc, randomFrom } from '../../../../fixtures/random.js'
import { action, actions, closeJournals, JournalRun, type State, textOf } from './journal-run.js'
import { type Fault, MemoryDisk, type Operation } from './memory-disk.js'

const isSoak = process.env.SOAK !== undefined
const numRuns = isSoak ? Number(process.env.SOAK_CASES ?? 3_000) : 20
const timeout = isSoak ? 600_000 : 40_000
const modes: readonly FsyncMode[] = ['always', 'interval', 'never']
const segmentBytes = fc.integer({ min: 100, max: 2_000 })

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
afterEach(async () => {
  await closeJournals()
  vi.useRealTimers()
})

/** The process dies in such an operation, after as many others; a write has written a part of its bytes then. */
const kill = action('kill', {
  operation: fc.constantFrom<Operation[]>('write', 'write', 'write', 'sync', 'create', 'remove', 'read', 'cut'),
  after: fc.nat(3),
  part: fc.double({ min: 0, max: 1, noNaN: true }),
  power: fc.boolean(),
})

const lives = fc.array(
  fc.oneof(
    { weight: 16, arbitrary: actions },
    { weight: 1, arbitrary: action('close', {}) },
    { weight: 2, arbitrary: kill },
  ),
  { maxLength: 60, size: 'max' },
)

describe('a journal whose process dies in any operation recovers what was promised', () => {
  test.each(modes)('fsync %s', { timeout }, async fsync => {
    const random = randomFrom()
    const property = fc.asyncProperty(lives, segmentBytes, fc.nat(3), async (list, segmentBytes, turns) => {
      const disk = new MemoryDisk({ turns })
      let possible = [textOf(new Map())]
      let run: JournalRun | undefined
      let death: ((typeof list)[number] & { do: 'kill' }) | undefined
      const fault: Fault = operation =>
        death?.operation === operation && death.after-- <= 0 ? { kill: death.part } : undefined
      for (const next of [...list, { do: 'close' as const }]) {
        if (next.do === 'kill') death = { ...next }
        else {
          const process = disk.process(fault)
          if (!run) {
            run = await JournalRun.open(disk, process, { fsync, segmentBytes })
            if (run) {
              expect(possible).toContain(textOf(run.found))
              expect(run.journal.liveKeys).toBe(run.found.size)
            }
          }
          const done = next.do === 'close' ? run?.close() : run?.act(next)
          if (done) await done
          if (next.do !== 'close' && run && !run.process.isDead) continue
          if (run) possible = run.possible
          // What a dead process was promised must survive a power cut only if each promise waits for the disk.
          if (death?.power && fsync === 'always') disk.cutPower(random)
          run = death = undefined
          await closeJournals()
        }
      }
      const found = await JournalRun.open(disk, disk.process(), { fsync, segmentBytes })
      expect(possible).toContain(found && textOf(found.found))
      expect(disk.trespasses).toEqual([])
    })
    await fc.assert(property, { numRuns })
  })
})

/** So many operations of a kind fail, or a write takes only some of the bytes. */
const fail = action('fail', {
  operation: fc.constantFrom<Operation[]>('write', 'write', 'sync', 'sync', 'create', 'remove', 'syncFolder'),
  times: fc.integer({ min: 1, max: 3 }),
  bytes: fc.option(fc.integer({ min: 1, max: 60 })),
})

const troubles = fc.array(fc.oneof({ weight: 8, arbitrary: actions }, { weight: 1, arbitrary: fail }), {
  maxLength: 60,
  size: 'max',
})

describe('a journal whose disk fails now and then keeps what was not rejected, through a power cut after the last sync', () => {
  test.each(modes)('fsync %s', { timeout }, async fsync => {
    const random = randomFrom()
    const property = fc.asyncProperty(troubles, segmentBytes, fc.nat(3), async (list, segmentBytes, turns) => {
      const disk = new MemoryDisk({ turns })
      let trouble: ((typeof list)[number] & { do: 'fail' }) | undefined
      const process = disk.process(operation => {
        if (trouble?.operation !== operation || trouble.times-- <= 0) return undefined
        return operation === 'write' && trouble.bytes !== null ? trouble.bytes : new Error(`no ${operation}`)
      })
      const run = await JournalRun.open(disk, process, { fsync, segmentBytes })
      if (!run) throw new Error('the process died')
      for (const next of list) {
        if (next.do === 'fail') {
          trouble = { ...next }
          continue
        }
        const done = run.act(next)
        if (done) await done
      }
      trouble = undefined
      await run.settled()
      await run.tick()
      await run.tick()
      expect(run.journal.fault).toBeUndefined()

      process.isDead = true
      if (fsync !== 'never') disk.cutPower(random)
      const next = await JournalRun.open(disk, disk.process(), { fsync, segmentBytes })
      expect(next && textOf(next.found)).toBe(textOf(run.last))
    })
    await fc.assert(property, { numRuns })
  })
})

test(
  'a power cut under fsync interval takes nothing that was synced, whatever was written afterwards',
  async () => {
    const random = randomFrom()
    const list = fc.array(actions, { maxLength: 30, size: 'max' })
    const property = fc.asyncProperty(list, list, segmentBytes, async (before, after, segmentBytes) => {
      const disk = new MemoryDisk()
      const process = disk.process()
      const options = { fsync: 'interval', segmentBytes } as const
      const run = await JournalRun.open(disk, process, options)
      for (const next of before) await run?.act(next)
      await run?.settled()
      await run?.tick()
      const synced = run?.last ?? new Map()
      const changed = new Set<string>()
      for (const next of after) {
        await run?.act(next)
        if ('key' in next) changed.add(`key ${next.key}`)
      }
      process.isDead = true
      vi.clearAllTimers()
      disk.cutPower(random)
      const recovered = await JournalRun.open(disk, disk.process(), options)
      const unchanged = (state: State) => textOf(new Map([...state].filter(([key]) => !changed.has(key))))
      expect(recovered && unchanged(recovered.found)).toBe(unchanged(synced))
    })
    await fc.assert(property, { numRuns })
  },
  timeout,
)

test(
  'the files are no larger than twice what is live and a segment',
  async () => {
    const property = fc.asyncProperty(
      fc.array(actions, { maxLength: 80, size: 'max' }),
      segmentBytes,
      fc.constantFrom(...modes),
      async (list, segmentBytes, fsync) => {
        const disk = new MemoryDisk()
        const run = await JournalRun.open(disk, disk.process(), { fsync, segmentBytes })
        if (!run) throw new Error('the process died')
        for (const next of list) {
          await run.act(next)
          // One entry makes a group, so the newest segment is no more than one entry too large.
          await run.settled()
          await run.tick()
          const bytes = [...disk.files.values()].reduce((total, file) => total + file.bytes.length, 0)
          expect(run.journal.bytes).toBe(bytes)
          expect(bytes).toBeLessThanOrEqual(Math.max(2 * liveBytes(run.last), largestEntry) + segmentBytes)
        }
      },
    )
    await fc.assert(property, { numRuns })
  },
  timeout,
)

const largestEntry = 4_100

function liveBytes(state: State): number {
  let total = 0
  for (const [key, slots] of state) {
    for (const [slot, payload] of slots) total += frameBytes([{ key, slot, payload, replaces: false }])
  }
  return total
}
