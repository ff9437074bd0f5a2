import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { JournalFile } from '../../../../../client/bridge/outbox/journal/journal-files.js'
import { WholeWrites } from '../../../../../client/bridge/outbox/journal/whole-writes.js'

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }))
afterEach(() => void vi.useRealTimers())

/** A file whose writes take some time, of which it notes which made the thread wait. */
function fileThatTakes(ms: number): JournalFile & { waited: boolean[] } {
  const waited: boolean[] = []
  const take = (length: number, waits: boolean) => {
    waited.push(waits)
    vi.advanceTimersByTime(ms)
    return length
  }
  return {
    waited,
    write: async (_bytes, length) => take(length, false),
    writeNow: (_bytes, length) => take(length, true),
    sync: async () => {},
    cut: async () => {},
    close: async () => {},
  }
}

const short = Buffer.alloc(64 * 1024)

test('the thread waits for a short write, and for no long one', async () => {
  const file = fileThatTakes(1)
  const writes = new WholeWrites()
  await writes.write(file, short, short.length, 0)
  await writes.write(file, Buffer.alloc(short.length + 1), short.length + 1, 0)
  await writes.write(file, short, short.length, 0)
  expect(file.waited).toEqual([true, false, true])
})

test('after a write that took long, the thread waits for none during ten seconds', async () => {
  const file = fileThatTakes(0)
  const writes = new WholeWrites()
  const slow = fileThatTakes(11)
  await writes.write(slow, short, short.length, 0)
  await writes.write(file, short, short.length, 0)
  vi.advanceTimersByTime(9_999)
  await writes.write(file, short, short.length, 0)
  vi.advanceTimersByTime(1)
  await writes.write(file, short, short.length, 0)
  expect([slow.waited, file.waited]).toEqual([[true], [false, false, true]])
})
