/** What a caller of a journal sees of a disk that fails. */
import { setImmediate as immediate } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Journal } from '../../../../../client/bridge/outbox/journal/journal.js'
import type { FsyncMode } from '../../../../../client/bridge/outbox/journal/segments.js'
import { logLines } from './log-lines.js'
import { MemoryDisk, type Operation } from './memory-disk.js'
import { openForTest } from './open-for-test.js'

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
afterEach(() => void vi.useRealTimers())

/** A journal on a disk whose operations fail while they are in `broken`. */
async function opened(fsync: FsyncMode, options: { segmentBytes?: number; disk?: MemoryDisk } = {}) {
  const disk = options.disk ?? new MemoryDisk()
  const broken = new Map<Operation, Error | number>()
  const done: Operation[] = []
  const logger = logLines()
  const process = disk.process(operation => {
    done.push(operation)
    return broken.get(operation)
  })
  const { segmentBytes = 1_000 } = options
  const journal = await openForTest({ folder: disk.folder, fsync, logger, files: process, segmentBytes })
  return { disk, broken, done, logger, process, journal }
}

async function pass(ms: number): Promise<void> {
  vi.advanceTimersByTime(ms)
  await immediate()
}

function found(journal: Journal): string[] {
  return journal.takeRecovered().map(({ key, slots }) => `${key} ${[...slots].flat().map(String).join(' ')}`)
}

describe('an entry that the disk does not take is rejected with the disk’s error, and is not live', () => {
  const rows: [operation: Operation, fsync: FsyncMode, code: string][] = [
    ['write', 'never', 'ENOSPC'],
    ['write', 'interval', 'EIO'],
    ['write', 'always', 'EDQUOT'],
    ['sync', 'always', 'EIO'],
    ['create', 'never', 'EROFS'],
    ['create', 'interval', 'EMFILE'],
    ['syncFolder', 'always', 'EIO'],
  ]

  test.each(rows)('%s, fsync %s: %s', async (operation, fsync, code) => {
    const { disk, broken, logger, process, journal } = await opened(fsync, { segmentBytes: 50 })
    await journal.put('a', 'slot', 'kept'.repeat(20))
    await journal.put('b', 'slot', 'older')
    const error = Object.assign(new Error(code), { code })
    // The next entry begins a segment, as the last one is full.
    await journal.put('c', 'slot', 'kept'.repeat(20))
    broken.set(operation, error)
    await expect(journal.put('b', 'slot', 'newer')).rejects.toBe(error)
    await expect(journal.put('d', 'slot', 'new')).rejects.toBe(error)
    expect(journal.fault).toBe(error)
    expect(journal.liveKeys).toBe(3)

    broken.clear()
    await journal.put('e', 'slot', 'later')
    expect(journal.fault).toBeUndefined()
    expect(logger.lines).toMatchObject([
      { level: 'error', message: 'the journal cannot be written', err: code },
      { level: 'info', message: 'the journal can be written again' },
    ])
    process.isDead = true
    const kept = 'kept'.repeat(20)
    const { journal: next } = await opened(fsync, { disk })
    expect(found(next)).toEqual([`a slot ${kept}`, 'b slot older', `c slot ${kept}`, 'e slot later'])
  })
})

test.each<FsyncMode>(['always', 'interval', 'never'])(
  'a rewrite is rejected while a removal waits for the disk, and leaves no removed byte once it succeeds, fsync %s',
  async fsync => {
    const { disk, broken, done, process, journal } = await opened(fsync)
    await journal.put('a', 'slot', 'kept')
    await journal.put('b', 'slot', 'REMOVED')
    journal.remove('b')
    const error = new Error('ENOSPC')
    // The disk fails once, and takes what comes after the removal.
    vi.spyOn(broken, 'get').mockImplementationOnce(() => error)
    const before = done.length
    await expect(journal.rewrite()).rejects.toBe(error)
    expect(done[before]).toBe('write')
    await journal.rewrite()
    expect([...disk.files.values()].some(({ bytes }) => bytes.includes('REMOVED'))).toBe(false)
    process.isDead = true
    expect(found((await opened(fsync, { disk })).journal)).toEqual(['a slot kept'])
  },
)

test('puts that share a rejected group are all rejected, and a removal among them is written later', async () => {
  const { disk, broken, process, journal } = await opened('never')
  await journal.put('a', 'slot', '1')
  broken.set('write', new Error('ENOSPC'))
  journal.remove('a')
  const puts = await Promise.allSettled([journal.put('b', 'slot', '1'), journal.put('c', 'slot', '1')])
  expect(puts.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  await immediate()
  broken.clear()
  await pass(2_000)
  process.isDead = true
  expect(found((await opened('never', { disk })).journal)).toEqual([])
})

test('the fault goes when the disk takes entries again, although nobody puts one', async () => {
  const { broken, journal } = await opened('never')
  broken.set('write', new Error('ENOSPC'))
  await expect(journal.put('a', 'slot', '1')).rejects.toThrow('ENOSPC')
  await pass(2_000)
  expect(journal.fault).toBeDefined()
  broken.clear()
  await pass(2_000)
  expect(journal.fault).toBeUndefined()
  expect(journal.liveKeys).toBe(0)
})

test('a short write is continued until the disk takes nothing', async () => {
  const { disk, broken, done, process, journal } = await opened('never')
  broken.set('write', 7)
  await journal.put('a', 'slot', 'a payload of some length')
  expect(done.filter(operation => operation === 'write').length).toBeGreaterThan(5)
  broken.set('write', 0)
  await expect(journal.put('b', 'slot', '1')).rejects.toThrow('the disk took 0 of')
  process.isDead = true
  expect(found((await opened('never', { disk })).journal)).toEqual(['a slot a payload of some length'])
})

test('an entry that was written and rejected, as the sync failed, is cut off', async () => {
  const { disk, broken, process, journal } = await opened('always')
  await journal.put('a', 'slot', 'older')
  broken.set('sync', new Error('EIO'))
  await expect(journal.put('a', 'slot', 'newer')).rejects.toThrow('EIO')
  process.isDead = true
  expect(found((await opened('always', { disk })).journal)).toEqual(['a slot older'])
})

test('a full disk gets no empty files', async () => {
  const { disk, broken, journal } = await opened('never')
  broken.set('write', new Error('ENOSPC'))
  for (let i = 0; i < 5; i++) await expect(journal.put('a', 'slot', '1')).rejects.toThrow('ENOSPC')
  expect(disk.files.size).toBe(0)
})

describe('fsync interval', () => {
  test('entries that a failed sync may have lost are written to another file, once', async () => {
    const { disk, broken, logger, process, journal } = await opened('interval')
    await journal.put('a', 'start', 'older')
    await pass(200)
    await journal.put('a', 'progress', 'lost')
    await journal.put('a', 'finished', 'newest', { replaces: true })
    await journal.put('b', 'start', 'removed')
    journal.remove('b')
    broken.set('sync', new Error('EIO'))
    await pass(200)
    expect(journal.fault).toMatchObject({ message: 'EIO' })
    expect(disk.files.size).toBe(2)
    broken.clear()
    await pass(2_000)
    expect(journal.fault).toBeUndefined()
    expect(disk.files.size).toBe(1)
    expect(logger.lines).toMatchObject([{ level: 'error', message: 'the journal cannot be synced' }])

    process.isDead = true
    disk.cutPower(() => 0.9)
    expect(found((await opened('interval', { disk })).journal)).toEqual(['a finished newest'])
  })

  test('what an entry replaced stays replaced, although a later one overrides it before the sync fails', async () => {
    const { disk, broken, process, journal } = await opened('interval')
    await journal.put('a', 'start', 'replaced')
    await journal.put('b', 'slot', 'keeps the first segment')
    await pass(200)
    await journal.put('a', 'finished', 'overridden', { replaces: true })
    await journal.put('a', 'finished', 'newest')
    broken.set('sync', new Error('EIO'))
    await pass(200)
    broken.clear()
    await pass(2_000)
    process.isDead = true
    // None of the lost bytes comes back.
    disk.cutPower(() => 0.9)
    const recovered = found((await opened('interval', { disk })).journal)
    expect(recovered.sort()).toEqual(['a finished newest', 'b slot keeps the first segment'])
  })

  test('a segment that dies while others are synced is deleted after the next sync', async () => {
    const { disk, process, journal } = await opened('interval', {
      segmentBytes: 10,
      disk: new MemoryDisk({ turns: 50 }),
    })
    await journal.put('a', 'slot', 'older')
    await journal.put('b', 'slot', '1')
    vi.advanceTimersByTime(200)
    // The sync of the first segment is under way.
    for (let turn = 0; turn < 10; turn++) await undefined
    await journal.put('a', 'slot', 'newer')
    await immediate()
    process.isDead = true
    disk.cutPower(() => 0.9)
    const recovered = found((await opened('interval', { disk })).journal)
    expect(recovered.filter(text => text.startsWith('a'))).toHaveLength(1)
  })

  test('written entries are synced after 200 ms, and nothing is synced without one', async () => {
    const { done, journal } = await opened('interval')
    await journal.put('a', 'slot', '1')
    await pass(199)
    expect(done).not.toContain('sync')
    await pass(1)
    expect(done.slice(-2)).toEqual(['syncFolder', 'sync'])
    const { length } = done
    await pass(10_000)
    expect(done).toHaveLength(length)
  })
})

test('a segment that cannot be deleted is no fault, and is deleted later', async () => {
  const { disk, broken, logger, journal } = await opened('never', { segmentBytes: 10 })
  for (const key of ['a', 'b', 'c']) await journal.put(key, 'slot', '1')
  for (const key of ['a', 'b']) journal.remove(key)
  broken.set('remove', new Error('EACCES'))
  await pass(200)
  await pass(2_000)
  expect(journal.fault).toBeUndefined()
  expect(logger.lines).toMatchObject([{ level: 'warn', message: 'a journal file cannot be deleted' }])
  const { size } = disk.files
  broken.clear()
  await pass(2_000)
  // Those of the three entries, of the removals, and of the third entry once more.
  expect([size, disk.files.size]).toEqual([5, 1])
})

describe('entries that keep an old segment from being deleted', () => {
  /** One live entry in the oldest segment, and so many others that it has to be written again. */
  async function wasteful() {
    const all = await opened('never', { segmentBytes: 200 })
    await all.journal.put('old', 'slot', 'old payload')
    await all.journal.put('gone', 'slot', 'x'.repeat(200))
    const [path = ''] = all.disk.files.keys()
    const waste = async () => {
      for (let i = 0; i < 6; i++) await all.journal.put('new', 'slot', 'y'.repeat(100))
      await pass(200)
    }
    return { ...all, path, waste }
  }

  test('the entries are written again, and the segment is deleted', async () => {
    const { disk, process, journal, path, waste } = await wasteful()
    journal.remove('gone')
    await waste()
    expect(disk.files.has(path)).toBe(false)
    process.isDead = true
    expect(found((await opened('never', { disk })).journal)).toEqual([
      `new slot ${'y'.repeat(100)}`,
      'old slot old payload',
    ])
  })

  test('a frame of them that is damaged meanwhile is set aside, and its entry is live no more', async () => {
    const { disk, logger, journal, path, waste } = await wasteful()
    const file = disk.files.get(path)
    if (file) file.bytes = Buffer.from(file.bytes).fill('x', 20, 25)
    journal.remove('gone')
    await waste()
    expect(logger.lines).toMatchObject([
      { level: 'error', message: 'a damaged part of the journal was set aside', at: 0 },
    ])
    expect(disk.files.has(path)).toBe(false)
    expect(journal.liveKeys).toBe(1)
  })

  test('a segment that cannot be read stays until its entries are removed', async () => {
    const { disk, broken, logger, journal, path, waste } = await wasteful()
    broken.set('read', new Error('EIO'))
    journal.remove('gone')
    await waste()
    expect(logger.lines).toMatchObject([{ level: 'warn', message: 'a journal file cannot be read' }])
    expect(disk.files.has(path)).toBe(true)
    journal.remove('old')
    await waste()
    expect(disk.files.has(path)).toBe(false)
  })
})

describe('closing', () => {
  test('entries that cannot be synced are reported, and the folder is free', async () => {
    const { disk, broken, logger, journal } = await opened('interval')
    await journal.put('a', 'slot', '1')
    broken.set('sync', new Error('EIO'))
    await journal.close()
    expect(logger.lines).toMatchObject([{ level: 'error', message: 'the journal cannot be synced', err: 'EIO' }])
    expect(found((await opened('interval', { disk })).journal)).toEqual(['a slot 1'])
  })

  test('what was found and cannot be synced is written again', async () => {
    const { disk, process, journal } = await opened('interval')
    await journal.put('a', 'slot', '1')
    process.isDead = true
    let failing = true
    const next = disk.process(operation => (operation === 'sync' && failing ? new Error('EIO') : undefined))
    const logger = logLines()
    const reopening = openForTest({ folder: disk.folder, fsync: 'always', logger, files: next })
    await expect(reopening).resolves.toMatchObject({ liveKeys: 1 })
    failing = false
    await pass(2_000)
    next.isDead = true
    disk.cutPower(() => 0.9)
    expect(found((await opened('always', { disk })).journal)).toEqual(['a slot 1'])
    expect(logger.lines[0]).toMatchObject({
      level: 'warn',
      message: 'a journal file cannot be synced; its entries are written again',
    })
  })
})
