/** The memory of request bodies, and what an error says of a body. */
import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { BodyMemory } from '../../../../../client/bridge/front-door/body/body-memory.js'
import { minProgressBytes, readBody, readContent } from '../../../../../client/bridge/front-door/body/request-body.js'
import { Turns } from '../../../../../client/bridge/front-door/body/turns.js'

const turn = () => new Promise(setImmediate)

afterEach(() => {
  vi.useRealTimers()
})

test('a body that goes on after an abort takes no memory', async () => {
  const memory = new BodyMemory(1_000)
  const share = memory.share('me')
  const abort = new AbortController()
  const request = new IncomingMessage(new Socket())
  const reading = readBody(request, { maxBytes: 1_000, timeoutMs: 0, share }, abort.signal)
  request.push(Buffer.alloc(100))
  await turn()
  expect(memory.bytes).toBe(100)
  abort.abort(new Error('closing'))
  await expect(reading).rejects.toThrow('closing')
  share.release()
  request.push(Buffer.alloc(100))
  await turn()
  expect([memory.bytes, request.readableLength]).toEqual([0, 0])
})

test('an aborted signal ends the read of a body before its first byte', async () => {
  const request = new IncomingMessage(new Socket())
  const bounds = { maxBytes: 1_000, timeoutMs: 0, share: new BodyMemory(1_000).share('me') }
  await expect(readBody(request, bounds, AbortSignal.abort(new Error('closing')))).rejects.toThrow('closing')
})

/** Begins to read a body of which `bytes` arrive in each timeout, with a clock that the test moves. */
function readSlowly(announced?: number) {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  const memory = new BodyMemory(1_000_000)
  const share = memory.share('me')
  const request = new IncomingMessage(new Socket())
  if (announced !== undefined) request.headers['content-length'] = String(announced)
  const reading = readBody(request, { maxBytes: 1_000_000, timeoutMs: 30_000, share }, new AbortController().signal)
  reading.catch(() => {}) // each test looks at it
  const pass = async (bytes: number) => {
    if (bytes > 0) request.push(Buffer.alloc(bytes))
    await turn()
    vi.advanceTimersByTime(30_000)
    await turn()
  }
  return { request, reading, pass, memory, share }
}

test('a body that brings less than its minimum in one timeout is rejected with 408', async () => {
  for (const bytes of [0, 1, minProgressBytes - 1]) {
    const { reading, pass } = readSlowly(100_000)
    await pass(minProgressBytes)
    await pass(bytes)
    await expect(reading).rejects.toMatchObject({ status: 408, reason: 'body_too_slow' })
    expect(vi.getTimerCount()).toBe(0)
  }
})

test('a body that brings its minimum in each timeout is read to its end, however long it takes', async () => {
  const { request, reading, pass } = readSlowly()
  for (let time = 0; time < 50; time++) await pass(minProgressBytes)
  request.push(Buffer.from('end'))
  request.push(null)
  expect(await reading).toHaveLength(50 * minProgressBytes + 3)
  expect(vi.getTimerCount()).toBe(0)
})

test('an announced body takes its memory at once, and no more while it arrives', async () => {
  const { request, reading, memory, share } = readSlowly(600)
  expect(memory.bytes).toBe(600)
  for (const bytes of [100, 500]) {
    request.push(Buffer.alloc(bytes))
    await turn()
    expect(memory.bytes).toBe(600)
  }
  request.push(null)
  await reading
  share.release()
  expect(memory.bytes).toBe(0)
})

test.each([
  'MARKED words of a user',
  '"MARKED words of a user',
  '{"model":"MARKED words',
  '{"messages":[{"content":MARKED}]}',
  '{"a":1} MARKED',
  '[MARKED]',
  'nullMARKED',
])('the error of a body that is not JSON quotes nothing of %s', text => {
  let error: unknown
  try {
    readContent(Buffer.from(text))
  } catch (thrown) {
    error = thrown
  }
  expect(error).toMatchObject({ status: 400, message: expect.stringContaining('is not JSON') })
  expect(JSON.stringify([String(error), error])).not.toMatch(/MA|ARK|D wor/)
})

describe('turns', () => {
  /** Begins work that ends by hand. */
  function work(turns: Turns, signal: AbortSignal, log: string[], name: string) {
    const end: { resolve: () => void; reject: (error: Error) => void } = { resolve: () => {}, reject: () => {} }
    const done = turns.run(signal, () => {
      log.push(name)
      return new Promise<void>((resolve, reject) => Object.assign(end, { resolve, reject }))
    })
    return { done, end }
  }

  test('no more work than the bound runs at once, in the order of arrival', async () => {
    const turns = new Turns(2)
    const log: string[] = []
    const { signal } = new AbortController()
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map(name => work(turns, signal, log, name))
    await turn()
    expect(log).toEqual(['a', 'b'])
    b?.end.reject(new Error('no'))
    await expect(b?.done).rejects.toThrow('no')
    await turn()
    expect(log).toEqual(['a', 'b', 'c'])
    a?.end.resolve()
    await turn()
    expect(log).toEqual(['a', 'b', 'c', 'd'])
    for (const one of [c, d]) one?.end.resolve()
    await Promise.all([a, c, d].map(one => one?.done))
  })

  test('work whose signal aborts gives its place in the queue to the next', async () => {
    const turns = new Turns(1)
    const log: string[] = []
    const abort = new AbortController()
    const { signal } = new AbortController()
    const first = work(turns, signal, log, 'first')
    const left = work(turns, abort.signal, log, 'left')
    const next = work(turns, signal, log, 'next')
    abort.abort(new Error('gone'))
    await expect(left.done).rejects.toThrow('gone')
    first.end.resolve()
    await turn()
    expect(log).toEqual(['first', 'next'])
    next.end.resolve()
    await Promise.all([first.done, next.done])
    const late = work(turns, abort.signal, log, 'late')
    await turn()
    late.end.resolve()
    await late.done
  })
})
