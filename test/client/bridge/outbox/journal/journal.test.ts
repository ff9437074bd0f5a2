import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as immediate } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Journal } from '../../../../../client/bridge/outbox/journal/journal.js'
import type { FsyncMode } from '../../../../../client/bridge/outbox/journal/segments.js'
import { silentLogger } from '../../../../../shared/values/log.js'
import { temporaryFolder } from '../../../../fixtures/temporary-folder.js'
import { MemoryDisk, type Operation } from './memory-disk.js'
import { openForTest } from './open-for-test.js'

const modes: readonly FsyncMode[] = ['always', 'interval', 'never']

test.each(modes)(
  'the newest payload of each slot is recovered in the order of the keys, unless removed: fsync %s',
  async fsync => {
    const folder = await temporaryFolder()
    const journal = await open(folder, fsync)
    expect(journal.takeRecovered()).toEqual([])
    await journal.put('b', 'start', 'b 1')
    await journal.put('a', 'start', 'a 1')
    await journal.put('c', 'start', 'c 1')
    await Promise.all([journal.put('a', 'progress', 'a 2'), journal.put('a', 'progress', 'a 3')])
    await journal.put('b', 'finished', Buffer.from('b 2'), { replaces: true })
    journal.remove('c')
    expect(journal.liveKeys).toBe(2)
    await journal.close()

    const next = await open(folder, fsync)
    expect(next.liveKeys).toBe(2)
    expect(found(next)).toEqual([
      ['b', 'finished', 'b 2'],
      ['a', 'start', 'a 1', 'progress', 'a 3'],
    ])
    expect(next.takeRecovered()).toEqual([])
  },
)

describe('the folder', () => {
  test('a folder that another journal has open is rejected until that one is closed', async () => {
    const folder = await temporaryFolder()
    const journal = await open(folder)
    await expect(open(folder)).rejects.toMatchObject({
      code: 'PRECONDITION_FAILED',
      reason: 'data_in_use',
      message: expect.stringContaining(`outbox ${folder} is in use by process ${process.pid}`),
    })
    await journal.close()
    await open(folder)
  })

  test('a folder and its files are made for their owner alone', async () => {
    const folder = join(await temporaryFolder(), 'a', 'b')
    const journal = await open(folder)
    await journal.put('a', 'slot', '1')
    const names = (await readdir(folder)).filter(name => name.startsWith('segment-'))
    const paths = [folder, ...names.map(name => join(folder, name))]
    expect(await Promise.all(paths.map(async path => (await stat(path)).mode & 0o777))).toEqual([0o700, 0o600])
  })

  test('a folder that others may enter is closed to them', async () => {
    const folder = await temporaryFolder()
    await chmod(folder, 0o755)
    await open(folder)
    expect((await stat(folder)).mode & 0o777).toBe(0o700)
  })

  test('a folder that cannot be made is reported with its path', async () => {
    const file = join(await temporaryFolder(), 'file')
    await writeFile(file, '')
    await expect(open(join(file, 'outbox'))).rejects.toMatchObject({ code: 'ENOTDIR', path: join(file, 'outbox') })
  })

  // The superuser may write everywhere, except where the kernel itself has no files to give.
  test.runIf(process.platform === 'linux')('a folder in which nothing can be written is rejected', async () => {
    await expect(open('/proc/self/fdinfo')).rejects.toThrow()
  })

  test('a journal of which nothing is live leaves an empty folder when it is closed', async () => {
    const folder = join(await temporaryFolder(), 'outbox')
    await mkdir(folder)
    const journal = await open(folder, 'interval')
    await Promise.all(['a', 'b'].map(key => journal.put(key, 'slot', 'x'.repeat(5_000))))
    for (const key of ['a', 'b']) journal.remove(key)
    await journal.close()
    expect(await readdir(folder)).toEqual([])
    expect(journal.bytes).toBe(0)
  })
})

test('payloads of any size are recovered', async () => {
  const folder = await temporaryFolder()
  const journal = await open(folder)
  const payloads = [0, 1, 100_000, 300_000, 3_000_000].map(size => 'ä'.repeat(size))
  await Promise.all(payloads.map((payload, index) => journal.put(`${index}`, 'slot', payload)))
  await journal.close()
  const recovered = (await open(folder)).takeRecovered()
  expect(recovered.map(({ slots }) => String(slots.get('slot')) === payloads.shift())).toEqual([
    true,
    true,
    true,
    true,
    true,
  ])
})

test('a key or slot that is too long is rejected, and so is a put after the closing', async () => {
  const journal = await open(await temporaryFolder())
  await expect(journal.put('k'.repeat(65_536), 'slot', '')).rejects.toThrow(RangeError)
  await expect(journal.put('key', 'ä'.repeat(128), '')).rejects.toThrow(RangeError)
  const last = journal.put('key', 'slot', '')
  const closed = journal.close()
  expect(journal.close()).toBe(closed)
  await expect(journal.put('key', 'slot', '')).rejects.toThrow('the journal is closed')
  journal.remove('key')
  await Promise.all([last, closed])
  await expect(journal.rewrite()).rejects.toThrow('the journal is closed')
})

describe('rewriting', () => {
  test.each(modes)('no file has a byte of what was removed or replaced: fsync %s', async fsync => {
    const folder = await temporaryFolder()
    const journal = await openForTest({ folder, fsync, logger: silentLogger, segmentBytes: 1_000 })
    for (let i = 0; i < 20; i++) {
      await journal.put(`removed ${i}`, 'slot', 'secret'.repeat(20))
      await journal.put('kept', 'slot', i < 19 ? 'secret' : 'newest')
    }
    await writeFile(join(folder, 'damaged-segment-17-0'), 'secret')
    for (let i = 0; i < 20; i++) journal.remove(`removed ${i}`)
    const during = journal.put('later', 'slot', 'later')
    await Promise.all([journal.rewrite(), during, journal.rewrite()])
    const names = (await readdir(folder)).filter(name => !name.startsWith('lock-'))
    const contents = await Promise.all(names.map(name => readFile(join(folder, name), 'latin1')))
    expect(contents.filter(content => /secret|removed/.test(content))).toEqual([])
    expect(journal.bytes).toBe(contents.join('').length)
    await journal.close()
    expect(found(await open(folder))).toEqual([
      ['kept', 'slot', 'newest'],
      ['later', 'slot', 'later'],
    ])
  })

  test('a journal of which nothing is live has no files afterwards', async () => {
    const folder = await temporaryFolder()
    const journal = await open(folder, 'interval')
    await journal.put('a', 'slot', '1')
    // The removal waits: no group is under way that takes it along.
    await immediate()
    journal.remove('a')
    await journal.rewrite()
    expect((await readdir(folder)).filter(name => !name.startsWith('lock-'))).toEqual([])
    expect(journal.bytes).toBe(0)
  })

  const failing: Operation[] = ['write', 'create', 'remove', 'read']
  test.each(failing)('an error of the disk rejects it, and nothing live is lost: %s', async operation => {
    const disk = new MemoryDisk()
    let fails = false
    const files = disk.process(done => (fails && done === operation ? new Error(`no ${operation}`) : undefined))
    const journal = await openForTest({ folder: disk.folder, fsync: 'never', logger: silentLogger, files })
    await journal.put('a', 'slot', '1')
    fails = true
    await expect(journal.rewrite()).rejects.toThrow(operation === 'read' ? 'cannot be read' : `no ${operation}`)
    files.isDead = true
    const next = await openForTest({ folder: disk.folder, fsync: 'never', logger: silentLogger, files: disk.process() })
    expect(found(next)).toEqual([['a', 'slot', '1']])
  })
})

describe('groups', () => {
  /** A journal that counts its operations; `turns` makes the disk slow. */
  async function counted(fsync: FsyncMode, turns = 0) {
    const disk = new MemoryDisk({ turns })
    const done: Operation[] = []
    const files = disk.process(operation => void done.push(operation))
    const journal = await openForTest({ folder: disk.folder, fsync, logger: silentLogger, files })
    await journal.put('first', 'slot', '1')
    return { journal, done: () => done.splice(0).filter(operation => operation === 'write' || operation === 'sync') }
  }

  test('puts and removals of one turn share a write and a sync', async () => {
    const { journal, done } = await counted('always')
    done()
    const puts = [1, 2, 3].map(number => journal.put(`${number}`, 'slot', '1'))
    journal.remove('first')
    await Promise.all(puts)
    expect(done()).toEqual(['write', 'sync'])
  })

  test('puts during a sync share the next group', async () => {
    const { journal, done } = await counted('always', 100)
    done()
    const first = journal.put('a', 'slot', '1')
    await Promise.resolve()
    const others: Promise<void>[] = []
    for (const key of ['b', 'c', 'd']) {
      others.push(journal.put(key, 'slot', '1'))
      await Promise.resolve()
    }
    await Promise.all([first, ...others])
    expect(done()).toEqual(['write', 'sync', 'write', 'sync'])
  })

  test('a group of more than 256 KiB is divided', async () => {
    const { journal, done } = await counted('never')
    done()
    await Promise.all(Array.from({ length: 100 }, (_, index) => journal.put(`${index}`, 'slot', 'x'.repeat(10_000))))
    expect(done().length).toBeGreaterThan(2)
    expect(done().length).toBeLessThan(50)
  })
})

async function open(folder: string, fsync: FsyncMode = 'never'): Promise<Journal> {
  const journal = await openForTest({ folder, fsync, logger: silentLogger })
  onTestFinished(() => journal.close())
  return journal
}

function found(journal: Journal): string[][] {
  return journal.takeRecovered().map(({ key, slots }) => [key, ...[...slots].flat().map(String)])
}
