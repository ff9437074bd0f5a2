/** What a journal makes of files that a dying process, a failing disk or a person left. */
import { describe, expect, test } from 'vitest'
import type { Journal } from '../../../../../client/bridge/outbox/journal/journal.js'
import { logLines } from './log-lines.js'
import { MemoryDisk } from './memory-disk.js'
import { openForTest } from './open-for-test.js'

/** A disk with three entries in one segment, and where each frame begins. */
async function written() {
  const disk = new MemoryDisk()
  const process = disk.process()
  const journal = await open(disk, process)
  const starts: number[] = []
  for (const key of ['a', 'b', 'c']) {
    starts.push(journal.bytes)
    await journal.put(key, 'slot', `payload of ${key}`)
  }
  process.isDead = true
  const [path = ''] = disk.files.keys()
  return { disk, path, starts, length: journal.bytes }
}

function open(disk: MemoryDisk, files = disk.process(), logger = logLines()): Promise<Journal> {
  return openForTest({ folder: disk.folder, fsync: 'never', logger, files })
}

function keys(journal: Journal): string[] {
  return journal.takeRecovered().map(({ key }) => key)
}

/** Changes the bytes of a file. */
function change(disk: MemoryDisk, path: string, make: (bytes: Buffer) => Buffer): void {
  const file = disk.files.get(path)
  if (file) file.bytes = make(Buffer.from(file.bytes))
}

/** What another process finds and logs, which dies then. */
async function reopened(disk: MemoryDisk): Promise<{ keys: string[]; lines: object[] }> {
  const logger = logLines()
  const process = disk.process()
  const journal = await open(disk, process, logger)
  process.isDead = true
  return { keys: keys(journal), lines: logger.lines }
}

test('a torn end is cut off with a warning, at every byte of the last frame', async () => {
  const { disk, path, starts, length } = await written()
  const whole = disk.files.get(path)?.bytes ?? Buffer.alloc(0)
  const [, , last = 0] = starts
  for (let end = last + 1; end < length; end++) {
    change(disk, path, () => whole.subarray(0, end))
    expect(await reopened(disk)).toEqual({
      keys: ['a', 'b'],
      lines: [
        {
          level: 'warn',
          message: 'the torn end of a journal file was cut off',
          file: path,
          at: last,
          bytes: end - last,
        },
      ],
    })
    expect(disk.files.get(path)?.bytes.length).toBe(last)
    expect(disk.files.size).toBe(1)
    // It is logged once.
    expect(await reopened(disk)).toEqual({ keys: ['a', 'b'], lines: [] })
  }
})

test('a frame with a flipped bit is set aside with its reason, at every byte, and what follows is recovered', async () => {
  const { disk, path, starts } = await written()
  const whole = disk.files.get(path)?.bytes ?? Buffer.alloc(0)
  const [, from = 0, to = 0] = starts
  const copy = `${path.replace('segment-', 'damaged-segment-')}-${from}`
  for (let at = from; at < to; at++) {
    change(disk, path, () => {
      const bytes = Buffer.from(whole)
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8))
      return bytes
    })
    expect(await reopened(disk)).toEqual({
      keys: ['a', 'c'],
      lines: [
        {
          level: 'error',
          message: 'a damaged part of the journal was set aside',
          file: path,
          at: from,
          bytes: to - from,
          damage: 'corrupt',
          copy,
        },
      ],
    })
    expect(disk.files.get(copy)?.bytes).toEqual(disk.files.get(path)?.bytes.subarray(from, to))
    // It is logged once, and the copy stays.
    expect(await reopened(disk)).toEqual({ keys: ['a', 'c'], lines: [] })
    disk.files.delete(copy)
  }
})

describe('a segment that is not what it was', () => {
  /** a second segment, with entries that override the first one's */
  async function twoSegments() {
    const { disk, path } = await written()
    const process = disk.process()
    const journal = await open(disk, process)
    await journal.put('b', 'slot', 'newer')
    await journal.put('d', 'slot', 'new')
    process.isDead = true
    const second = [...disk.files.keys()].find(name => name !== path) ?? ''
    return { disk, first: path, second }
  }

  test('the files of two processes are read in their order', async () => {
    const { disk } = await twoSegments()
    const recovered = (await open(disk)).takeRecovered()
    expect(recovered.map(({ key, slots }) => `${key} ${slots.get('slot')}`)).toEqual([
      'a payload of a',
      'b newer',
      'c payload of c',
      'd new',
    ])
  })

  test('the entries of a missing segment are gone, the others are recovered', async () => {
    const { disk, first } = await twoSegments()
    disk.files.delete(first)
    expect(await reopened(disk)).toEqual({ keys: ['b', 'd'], lines: [] })
  })

  test('an empty segment is deleted', async () => {
    const { disk, first } = await twoSegments()
    change(disk, first, () => Buffer.alloc(0))
    expect(await reopened(disk)).toEqual({ keys: ['b', 'd'], lines: [] })
    expect(disk.files.has(first)).toBe(false)
  })

  test('a file of something else is set aside whole', async () => {
    const { disk, first } = await twoSegments()
    change(disk, first, () => Buffer.from('something else'))
    const { keys, lines } = await reopened(disk)
    expect([keys, lines]).toMatchObject([['b', 'd'], [{ level: 'error', damage: 'corrupt', at: 0, bytes: 14 }]])
    expect(disk.files.has(first)).toBe(false)
  })

  test('a segment with another segment’s name or bytes is set aside, so that old entries override nothing', async () => {
    const { disk, first, second } = await twoSegments()
    const copied = disk.files.get(first)?.bytes ?? Buffer.alloc(0)
    change(disk, second, () => copied)
    const { keys, lines } = await reopened(disk)
    expect(keys).toEqual(['a', 'b', 'c'])
    expect(lines).toMatchObject(Array.from({ length: 3 }, () => ({ level: 'error', damage: 'foreign', file: second })))
  })

  test('a segment that cannot be read is set aside, and the others are recovered', async () => {
    const { disk, first } = await twoSegments()
    const logger = logLines()
    const unreadable = disk.process((operation, path) =>
      operation === 'read' && path === first ? new Error('EIO') : undefined,
    )
    const journal = await open(disk, unreadable, logger)
    expect(keys(journal)).toEqual(['b', 'd'])
    expect(logger.lines).toMatchObject([
      { level: 'error', message: 'a journal file that cannot be read was set aside' },
    ])
    expect([...disk.files.keys()].filter(name => name.includes('damaged-'))).toHaveLength(1)
  })

  test('other files are left alone', async () => {
    const { disk, first } = await twoSegments()
    const file = disk.files.get(first)
    const names = ['segment-x', 'segment-1.bak', 'lock-1-2', 'dead-letters', 'segment-0123456789012345'].map(
      name => `${disk.folder}/${name}`,
    )
    if (file) for (const name of names) disk.files.set(name, file)
    expect(await reopened(disk)).toEqual({ keys: ['a', 'b', 'c', 'd'], lines: [] })
    expect(names.filter(name => !disk.files.has(name))).toEqual([])
  })
})

test('damage that cannot be copied is reported, and reading goes on', async () => {
  const { disk, path, starts } = await written()
  const [, from = 0] = starts
  change(disk, path, bytes => bytes.fill('x', from + 20, from + 25))
  const logger = logLines()
  const full = disk.process((operation, path) =>
    operation === 'write' && path.includes('damaged') ? new Error('ENOSPC') : undefined,
  )
  expect(keys(await open(disk, full, logger))).toEqual(['a', 'c'])
  expect(logger.lines).toMatchObject([
    { level: 'error', message: 'a damaged part of the journal could not be set aside' },
  ])
  expect([...disk.files.keys()]).toEqual([path])
})

test('a torn end that cannot be cut off is reported, and what was whole is recovered', async () => {
  const { disk, path, length } = await written()
  change(disk, path, bytes => bytes.subarray(0, length - 1))
  const logger = logLines()
  const files = disk.process(operation => (operation === 'cut' ? new Error('EIO') : undefined))
  expect(keys(await open(disk, files, logger))).toEqual(['a', 'b'])
  expect(logger.lines).toMatchObject([
    { level: 'warn', message: 'the torn end of a journal file could not be cut off' },
  ])
})

test.each(['list', 'rename'] as const)(
  'a folder that cannot be read rejects the opening, and is free afterwards: %s',
  async failing => {
    const { disk } = await written()
    const files = disk.process(operation =>
      operation === failing || operation === 'read' ? new Error(`no ${operation}`) : undefined,
    )
    await expect(open(disk, files)).rejects.toThrow(`no ${failing}`)
    expect(keys(await open(disk))).toEqual(['a', 'b', 'c'])
  },
)
