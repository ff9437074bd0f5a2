import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { OutputWatch } from '../../../../server/acp/streams/output-watch.js'

const limits = { highWaterMarkBytes: 100, maxBufferedBytes: 800, slowReaderMs: 60_000 }

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

function makeWatch() {
  const notes: string[] = []
  const output = {
    hold: () => notes.push('hold'),
    release: () => notes.push('release'),
    onSlowReader: (message: string) => notes.push(message),
  }
  return { watch: new OutputWatch(output, limits), notes }
}

test('B2: an agent is held above the mark and goes on at half of it', () => {
  const { watch, notes } = makeWatch()
  watch.onUnread(100)
  expect(notes).toEqual([])
  watch.onUnread(1)
  expect(notes).toEqual(['hold'])
  watch.onUnread(-50)
  expect(notes).toEqual(['hold'])
  watch.onUnread(-1)
  expect(notes).toEqual(['hold', 'release'])
  vi.advanceTimersByTime(120_000)
  expect(notes).toHaveLength(2)
  expect(vi.getTimerCount()).toBe(0)
})

test('B2: a client that reads nothing for 60 s is a slow reader; any byte begins the time anew', () => {
  const { watch, notes } = makeWatch()
  watch.onUnread(150)
  vi.advanceTimersByTime(59_999)
  watch.onRead()
  vi.advanceTimersByTime(59_999)
  watch.onUnread(-1)
  vi.advanceTimersByTime(59_999)
  expect(notes).toEqual(['hold'])
  vi.advanceTimersByTime(1)
  expect(notes[1]).toBe('149 bytes are unread, and the client has read none for 60,000 ms')
  watch.onUnread(500)
  expect(notes).toHaveLength(2)
})

test('B1: an agent that goes on while it is held costs the connection', () => {
  const { watch, notes } = makeWatch()
  watch.onUnread(800)
  watch.onUnread(1)
  expect(notes).toEqual(['hold', '801 bytes are unread, more than maxBufferedBytes 800'])
  expect(vi.getTimerCount()).toBe(0)
})
