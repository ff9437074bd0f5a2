/** When a stream is opened again, on a clock of the test. */
import { PassThrough, type Readable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { LiveStream } from '../../../../client/acp/http/live-stream.js'
import { HttpRejection } from '../../../../client/acp/rejection.js'
import { acpError } from '../../../../shared/acp/errors.js'
import { acpClientLimits, acpClientTimes } from '../../../../shared/acp/limits.js'
import type { AcpMessage } from '../../../../shared/acp/messages.js'
import type { RpcError } from '../../../../shared/rpc/errors.js'

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
afterEach(() => void vi.useRealTimers())

const unreachable = () => acpError('unreachable', 'no connection', { mayHaveRun: false })
const rejected = (status: number, reason?: string, retryAfter?: string) =>
  new HttpRejection('the stream', {
    status,
    headers: retryAfter === undefined ? {} : { 'retry-after': retryAfter },
    text: JSON.stringify({ message: 'no', reason }),
  })

/** A stream whose attempts the test settles. */
function streamOf(random = 1) {
  const attempts: { id: string | undefined; atMs: number; open(): PassThrough; fail(error: Error): void }[] = []
  const messages: AcpMessage[] = []
  const failures: RpcError<string>[] = []
  const startedAt = performance.now()
  const stream = new LiveStream(
    {
      open: id =>
        new Promise<Readable>((resolve, reject) => {
          attempts.push({
            id,
            atMs: Math.round(performance.now() - startedAt),
            open() {
              const body = new PassThrough()
              resolve(body)
              return body
            },
            fail: reject,
          })
        }),
      onMessage: message => void messages.push(message),
      onFailed: error => void failures.push(error),
    },
    { ...acpClientTimes, ...acpClientLimits, random: () => random },
  )
  const attempt = async (nth: number) => {
    // Of the fake clock; the streams' own turns are real.
    for (let turn = 0; attempts.length < nth && failures.length === 0 && turn < 1_000; turn++) {
      await new Promise(resolve => setImmediate(resolve))
      await vi.advanceTimersByTimeAsync(10)
    }
    const found = attempts[nth - 1]
    if (!found) throw new Error(`no attempt ${nth}`)
    return found
  }
  return { stream, attempts, attempt, messages, failures }
}

const turn = () => new Promise(resolve => setImmediate(resolve))
const event = (id?: number) =>
  `${id === undefined ? '' : `id: ${id}\n`}data: {"jsonrpc":"2.0","method":"session/update"}\n\n`

describe('a stream is opened again', () => {
  test('behind the last event after a clean end, and from the start after one without events', async () => {
    const { stream, attempt, messages } = streamOf()
    const first = await attempt(1)
    expect(first.id).toBeUndefined()
    first.open().end()
    const second = await attempt(2)
    expect(second.id).toBe('0')
    second.open().end(event(1) + event(2))
    const third = await attempt(3)
    expect({ id: third.id, messages: messages.length }).toEqual({ id: '2', messages: 2 })
    stream.stop()
  })

  test('behind the last whole event after a cut', async () => {
    const { stream, attempt } = streamOf()
    const body = (await attempt(1)).open()
    body.write(`${event(1)}id: 2\ndata: {"json`)
    await turn()
    body.destroy(new Error('ECONNRESET'))
    expect((await attempt(2)).id).toBe('1')
    stream.stop()
  })

  test('behind its last event after a minute without a byte, and not while comments come', async () => {
    const { stream, attempt, attempts } = streamOf(0)
    const body = (await attempt(1)).open()
    body.write(event(3))
    await turn()
    for (let comments = 0; comments < 10; comments++) {
      await vi.advanceTimersByTimeAsync(15_000)
      body.write(':\n\n')
      await turn()
    }
    await vi.advanceTimersByTimeAsync(acpClientTimes.lostAfterMs - 1)
    await turn()
    expect(attempts).toHaveLength(1)
    await vi.advanceTimersByTimeAsync(1)
    expect({ id: (await attempt(2)).id, destroyed: body.destroyed }).toEqual({ id: '3', destroyed: true })
    stream.stop()
  })

  test('not for the silence of a stream that is paused', async () => {
    const { stream, attempt, attempts } = streamOf(0)
    ;(await attempt(1)).open()
    await turn()
    stream.pause()
    await vi.advanceTimersByTimeAsync(10 * acpClientTimes.lostAfterMs)
    await turn()
    expect(attempts).toHaveLength(1)
    stream.resume()
    await vi.advanceTimersByTimeAsync(acpClientTimes.lostAfterMs)
    await attempt(2)
    stream.stop()
  })

  test.each([
    ['a 500', rejected(500)],
    ['a 503', rejected(503)],
    ['a 409 of a server without reasons', rejected(409)],
    ['a lost response', acpError('response_lost', 'lost', { mayHaveRun: true })],
    ['a late response', acpError('response_timeout', 'late', { mayHaveRun: true })],
    ['a failed connection', unreachable()],
  ])('after %s', async (_, error) => {
    const { stream, attempt, failures } = streamOf()
    ;(await attempt(1)).fail(error)
    await attempt(2)
    expect(failures).toEqual([])
    stream.stop()
  })

  test('with Last-Event-ID while the server holds the stream before it', async () => {
    const { stream, attempt } = streamOf()
    ;(await attempt(1)).fail(rejected(409, 'stream_taken'))
    expect((await attempt(2)).id).toBe('0')
    stream.stop()
  })

  test('not earlier than the server asks', async () => {
    const { stream, attempt } = streamOf(0)
    ;(await attempt(1)).fail(rejected(503, 'draining', '2'))
    expect((await attempt(2)).atMs).toBeGreaterThanOrEqual(2_000)
    stream.stop()
  })
})

test('the waits double from 250 ms to 5 s, and an event makes the next loss a first one', async () => {
  const { stream, attempt, attempts } = streamOf()
  for (let nth = 1; nth <= 7; nth++) (await attempt(nth)).fail(unreachable())
  const body = (await attempt(8)).open()
  const waits = attempts.slice(1).map(({ atMs }, index) => atMs - (attempts[index]?.atMs ?? 0))
  expect(waits.map(ms => Math.floor(ms / 250) * 250)).toEqual([250, 500, 1_000, 2_000, 4_000, 5_000, 5_000])
  const endedAt = attempts.at(-1)?.atMs ?? 0
  body.end(event(1))
  expect((await attempt(9)).atMs - endedAt).toBeLessThan(400)
  stream.stop()
})

test('the jitter is full: a random 0 waits not at all', async () => {
  const { stream, attempt } = streamOf(0)
  for (let nth = 1; nth <= 5; nth++) (await attempt(nth)).fail(unreachable())
  expect((await attempt(6)).atMs).toBeLessThan(200)
  stream.stop()
})

test('ten seconds without an event make the next loss a first one too', async () => {
  const { stream, attempt } = streamOf()
  for (let nth = 1; nth <= 6; nth++) (await attempt(nth)).fail(unreachable())
  const body = (await attempt(7)).open()
  await vi.advanceTimersByTimeAsync(acpClientTimes.steadyMs)
  const endedAt = performance.now()
  body.end()
  await attempt(8)
  expect(performance.now() - endedAt).toBeLessThan(600)
  stream.stop()
})

describe('a stream is given up', () => {
  test('after a minute without one', async () => {
    const { attempt, attempts, failures } = streamOf()
    for (let nth = 1; failures.length === 0; nth++) {
      const next = await attempt(nth).catch(() => undefined)
      next?.fail(unreachable())
      await turn()
    }
    expect(failures[0]).toMatchObject({ reason: 'stream_lost', cause: { reason: 'unreachable' } })
    const last = attempts.at(-1)?.atMs ?? 0
    expect(last).toBeGreaterThan(55_000)
    expect(last).toBeLessThan(61_000)
  })

  test('after a minute of streams that end at once', async () => {
    const { attempt, attempts, failures } = streamOf()
    for (let nth = 1; failures.length === 0; nth++) {
      const next = await attempt(nth).catch(() => undefined)
      next?.open().end()
      await turn()
    }
    expect(failures[0]).toMatchObject({ reason: 'stream_lost', cause: { reason: 'response_lost' } })
    expect(attempts.length).toBeLessThan(25)
  })

  test.each([
    ['a 401', rejected(401), 'http_rejected'],
    ['a 403', rejected(403), 'http_rejected'],
    ['a 404', rejected(404, 'unknown_connection'), 'unknown_connection'],
    ['a 410', rejected(410), 'http_rejected'],
    ['a 429', rejected(429, 'too_many_streams'), 'too_many_streams'],
    ['a gap', rejected(409, 'stream_gap'), 'stream_gap'],
  ])('at once after %s', async (_, error, reason) => {
    const { attempts, attempt, failures } = streamOf()
    ;(await attempt(1)).fail(error)
    await vi.advanceTimersByTimeAsync(10_000)
    expect({ attempts: attempts.length, reason: failures[0]?.reason }).toEqual({ attempts: 1, reason })
  })
})

test('a stopped stream opens nothing and reports nothing', async () => {
  const { stream, attempts, attempt, messages, failures } = streamOf()
  const body = (await attempt(1)).open()
  await turn()
  stream.stop()
  body.write(event(1))
  await vi.advanceTimersByTimeAsync(100_000)
  expect({ attempts: attempts.length, messages, failures, destroyed: body.destroyed }).toEqual({
    attempts: 1,
    messages: [],
    failures: [],
    destroyed: true,
  })
})

test('a paused stream delivers nothing until it is resumed', async () => {
  const { stream, attempt, messages } = streamOf()
  stream.pause()
  const body = (await attempt(1)).open()
  body.write(event(1))
  for (let count = 0; count < 5; count++) await turn()
  expect(messages).toEqual([])
  stream.resume()
  for (let count = 0; count < 5; count++) await turn()
  expect(messages).toHaveLength(1)
  stream.stop()
})
