import { createTRPCClient } from '@trpc/client'
import { initTRPC, tracked } from '@trpc/server'
import { observable } from '@trpc/server/observable'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createDuplexClient } from '../../../client/rpc/client.js'
import { duplexLink } from '../../../client/rpc/link.js'
import type { ErrorReport } from '../../../server/rpc/responses.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { transformer } from '../../../shared/rpc/json/transformer.js'
import { leavesNothing } from '../../fixtures/leaves-nothing.js'
import { linksBothWays } from '../../fixtures/links.js'
import { gate, peer } from '../../fixtures/peer.js'
import { quickTime } from '../../fixtures/quick-time.js'

const t = initTRPC.context<object>().create({ transformer })

function testRouter() {
  const cleaned = gate()
  const reached = gate()
  const deaf = gate()
  const flooded = gate()
  const pulled: number[] = []
  const router = t.router({
    count: t.procedure
      .input(z.object({ to: z.number(), lastEventId: z.string().optional() }))
      .subscription(async function* ({ input }) {
        for (let id = Number(input.lastEventId ?? 0) + 1; id <= input.to; id++)
          yield tracked(String(id), { at: new Date(id) })
      }),
    plain: t.procedure.subscription(async function* () {
      yield 'one'
      yield 'two'
    }),
    fails: t.procedure.subscription(async function* () {
      yield 1
      throw new RpcError('PRECONDITION_FAILED', 'no more')
    }),
    waits: t.procedure.subscription(async function* ({ signal }) {
      try {
        yield 'first'
        reached.open()
        await new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
      } finally {
        cleaned.open()
      }
    }),
    deaf: t.procedure.subscription(async function* () {
      yield 'first'
      await deaf.passed
    }),
    observed: t.procedure.subscription(() =>
      observable<string>(emit => {
        emit.next('from an observable')
        return () => cleaned.open()
      }),
    ),
    flood: t.procedure.subscription(async function* () {
      try {
        for (let index = 0; ; index++) {
          pulled.push(index)
          yield 'x'.repeat(64 * 1024)
        }
      } finally {
        flooded.open()
      }
    }),
    notOne: t.procedure.subscription((() => 'a string') as never), // a handler that breaks its type
  })
  return { router, cleaned: cleaned.passed, reached: reached.passed, pulled, flooded: flooded.passed, wake: deaf.open }
}

describe.each(linksBothWays)('subscriptions, $name', ({ link, dialRaw }) => {
  leavesNothing()
  const passQuickly = quickTime()

  it('a subscription is iterated to its end', async () => {
    const { router } = testRouter()
    const client = createDuplexClient<typeof router>({ connection: link(router).connection, transformer })
    const items: unknown[] = []
    for await (const item of client.count.subscribe({ to: 3 })) items.push(item)
    expect(items).toEqual([1, 2, 3].map(id => ({ id: String(id), data: { at: new Date(id) } })))
  })

  it('callbacks of a subscription are called in order', async () => {
    const { router } = testRouter()
    const { connection } = link(router)
    for (const client of [
      createDuplexClient<typeof router>({ connection, transformer }),
      createTRPCClient<typeof router>({ links: [duplexLink({ connection, transformer })] }),
    ]) {
      const noted: unknown[] = []
      await new Promise<void>(resolve => {
        client.plain.subscribe(undefined, {
          onStarted: () => noted.push('started'),
          onData: value => noted.push(value),
          onStopped: () => noted.push('stopped'),
          onComplete: resolve,
        })
      })
      expect(noted).toEqual(['started', 'one', 'two', 'stopped'])
    }
  })

  it('a failing subscription ends with a typed error, once', async () => {
    const { router } = testRouter()
    const { duplex } = await dialRaw(router)
    const { send, until, received } = peer(duplex)
    send({ id: 1, method: 'subscription', params: { path: 'fails' } })
    await until(3)
    send('PING')
    await until(4)
    expect(received).toMatchObject([
      { id: 1, result: { type: 'started' } },
      { id: 1, result: { type: 'data', data: { json: 1 } } },
      { id: 1, error: { json: { message: 'no more', data: { code: 'PRECONDITION_FAILED' } } } },
      'PONG',
    ])
  })

  it('unsubscribing runs the source’s clean-up and completes', async () => {
    const { router, cleaned, reached } = testRouter()
    const client = createDuplexClient<typeof router>({ connection: link(router).connection, transformer })
    const completed = gate()
    const subscription = client.waits.subscribe(undefined, { onComplete: completed.open })
    await reached
    subscription.unsubscribe()
    await Promise.all([completed.passed, cleaned])
  })

  it('an aborted signal completes the subscription', async () => {
    const { router, cleaned, reached } = testRouter()
    const client = createDuplexClient<typeof router>({ connection: link(router).connection, transformer })
    const controller = new AbortController()
    const completed = gate()
    client.waits.subscribe(undefined, {
      signal: controller.signal,
      onComplete: completed.open,
      onError: completed.fail,
    })
    await reached
    controller.abort()
    await Promise.all([completed.passed, cleaned])
  })

  it('the response to subscription.stop is stopped although the source ignores its signal', async () => {
    const { router, wake } = testRouter()
    const { duplex } = await dialRaw(router)
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'subscription', params: { path: 'deaf' } })
    await until(2)
    send({ id: 1, method: 'subscription.stop' })
    expect((await until(3))[2]).toEqual({ id: 1, result: { type: 'stopped' } })
    wake()
  })

  it('an observable is a source too, and is torn down', async () => {
    const { router, cleaned } = testRouter()
    const client = createDuplexClient<typeof router>({ connection: link(router).connection, transformer })
    for await (const item of client.observed.subscribe()) {
      expect(item).toBe('from an observable')
      break
    }
    await cleaned
  })

  it('an observable is not paused: a reader that is too slow is closed, and the source torn down', async () => {
    passQuickly()
    const torn = gate()
    const router = t.router({
      flood: t.procedure.subscription(() =>
        observable<string>(emit => {
          let turn: NodeJS.Immediate
          const flood = (): void => {
            turn = setImmediate(flood)
            emit.next('x'.repeat(64 * 1024))
          }
          flood()
          return () => {
            clearImmediate(turn)
            torn.open()
          }
        }),
      ),
    })
    const { duplex, served } = await dialRaw(router, { limits: { maxBufferedBytes: 4_000_000 } })
    duplex.send({ id: 1, method: 'subscription', params: { path: 'flood' } })
    await torn.passed
    expect(await served.closed).toMatchObject({ code: 4008 })
  })

  it('an observable that fails, throws, or emits a value that cannot be sent ends with an error, once', async () => {
    const torn: string[] = []
    const router = t.router({
      fails: t.procedure.subscription(() =>
        observable<string>(emit => {
          emit.next('first')
          emit.error(new RpcError('PRECONDITION_FAILED', 'no more'))
          emit.next('too late')
          return () => torn.push('fails')
        }),
      ),
      throws: t.procedure.subscription(() =>
        observable<string>(() => {
          throw new RpcError('PRECONDITION_FAILED', 'not even one')
        }),
      ),
      unsendable: t.procedure.subscription(() =>
        observable<string>(emit => {
          emit.next('x'.repeat(5 * 1024 * 1024))
          emit.next('too late')
          return () => torn.push('unsendable')
        }),
      ),
    })
    const client = createDuplexClient<typeof router>({ connection: link(router).connection, transformer })
    const noted = (path: 'fails' | 'throws' | 'unsendable') =>
      new Promise<unknown[]>(resolve => {
        const items: unknown[] = []
        client[path].subscribe(undefined, {
          onData: item => items.push(item),
          onError: error => resolve([...items, error.message]),
        })
      })
    expect(await noted('fails')).toEqual(['first', 'no more'])
    expect(await noted('throws')).toEqual(['not even one'])
    expect(await noted('unsendable')).toEqual([expect.stringContaining('larger than maxMessageBytes')])
    expect(torn).toEqual(['fails', 'unsendable'])
  })

  it('a procedure that returns no source is an error', async () => {
    const { router } = testRouter()
    const client = createDuplexClient<typeof router>({ connection: link(router).connection, transformer })
    const failed = gate<{ data: unknown }>()
    client.notOne.subscribe(undefined, { onError: failed.open })
    expect((await failed.passed).data).toMatchObject({ code: 'INTERNAL_SERVER_ERROR' })
  })

  it.each([undefined, null, 5, 'text', Symbol('done')])(
    'a source whose next() gives %s is a fault of the server, and cleans up',
    async result => {
      for (const given of [() => result, async () => result]) {
        const [returned, reported] = [gate(), gate<ErrorReport>()]
        const iterator = {
          next: given as unknown as () => Promise<IteratorResult<string>>, // a source that breaks its type
          return: async () => {
            returned.open()
            return { done: true as const, value: undefined }
          },
        }
        const router = t.router({
          broken: t.procedure.subscription(() => ({ [Symbol.asyncIterator]: () => iterator })),
        })
        const { duplex } = await dialRaw(router, { onError: reported.open })
        const { send, until } = peer(duplex)
        send({ id: 1, method: 'subscription', params: { path: 'broken' } })
        expect((await until(2))[1]).toMatchObject({
          id: 1,
          error: { json: { message: 'internal server error', data: { code: 'INTERNAL_SERVER_ERROR' } } },
        })
        expect((await reported.passed).error.message).toBe('next() of the source resolved with no object')
        await returned.passed
      }
    },
  )

  it('a source may return its results without a promise, or with a foreign promise', async () => {
    const results = [{ value: 'one' }, { value: 'two' }, { done: true }]
    const iterator = {
      next: () => {
        const result = results.shift()
        // biome-ignore lint/suspicious/noThenProperty: a foreign promise is the subject
        return (results.length === 1 ? { then: (take: (value: unknown) => void) => take(result) } : result) as never
      },
    }
    const router = t.router({
      odd: t.procedure.subscription(() => ({ [Symbol.asyncIterator]: (): AsyncIterator<string> => iterator })),
    })
    const client = createDuplexClient<typeof router>({ connection: link(router).connection, transformer })
    const items: string[] = []
    for await (const item of client.odd.subscribe()) items.push(item)
    expect(items).toEqual(['one', 'two'])
  })

  it.each([null, undefined, 'a string'])('a value whose asyncIterator is %s is a value, and no source', async given => {
    const value = { [Symbol.asyncIterator]: given, name: 'Ada' } as unknown as AsyncIterable<string>
    const router = t.router({ query: t.procedure.query(() => value), source: t.procedure.subscription(() => value) })
    const reported = gate<ErrorReport>()
    const { duplex } = await dialRaw(router, { onError: reported.open })
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'query', params: { path: 'query' } })
    expect(await until(1)).toEqual([{ id: 1, result: { type: 'data', data: { json: { name: 'Ada' } } } }])
    send({ id: 2, method: 'subscription', params: { path: 'source' } })
    expect((await until(2))[1]).toMatchObject({ id: 2, error: { json: { data: { code: 'INTERNAL_SERVER_ERROR' } } } })
    expect((await reported.passed).error.message).toContain('neither an async iterable nor an observable')
  })

  it('tracked events carry their id, and lastEventId is merged into the input', async () => {
    const { router } = testRouter()
    const { duplex } = await dialRaw(router)
    const { send, until } = peer(duplex)
    send({ id: 7, method: 'subscription', params: { path: 'count', input: { json: { to: 5 } }, lastEventId: '4' } })
    expect(await until(3)).toMatchObject([
      { id: 7, result: { type: 'started' } },
      { id: 7, result: { type: 'data', id: '5', data: { json: { id: '5' } } } },
      { id: 7, result: { type: 'stopped' } },
    ])
  })

  it('a subscription resumes after an event id of any length', async () => {
    const long = 'x'.repeat(5_000)
    const router = t.router({
      events: t.procedure
        .input(z.object({ lastEventId: z.string().optional() }).optional())
        .subscription(async function* ({ input, signal }) {
          yield input?.lastEventId === undefined ? tracked(long, 'first') : tracked('2', input.lastEventId)
          await new Promise(resolve => signal?.addEventListener('abort', resolve))
        }),
    })
    const { connection, sever } = link(router)
    const client = createDuplexClient<typeof router>({ connection, transformer })
    const noted: unknown[] = []
    for await (const { data } of client.events.subscribe()) {
      noted.push(data)
      if (data !== 'first') break
      sever()
    }
    expect(noted).toEqual(['first', long])
  })

  it('a subscription resumes after the last event when the connection is lost: no gap, no repeat', async () => {
    const { router } = testRouter()
    const { connection, sever } = link(router)
    const client = createDuplexClient<typeof router>({ connection, transformer })
    const ids: string[] = []
    for await (const { id } of client.count.subscribe({ to: 40 })) {
      ids.push(id)
      if (id === '10' || id === '25') sever()
    }
    expect(ids).toEqual(Array.from({ length: 40 }, (_, index) => String(index + 1)))
  })

  it('a lost connection runs the source’s clean-up', async () => {
    const { router, cleaned, reached } = testRouter()
    const { duplex } = await dialRaw(router)
    const { send } = peer(duplex)
    send({ id: 1, method: 'subscription', params: { path: 'waits' } })
    await reached
    duplex.terminate({ code: 1006, message: 'gone' })
    await cleaned
  })

  it('a source is not pulled further while its reader is slow, and goes on once the reader has caught up', async () => {
    const { router, pulled } = testRouter()
    const { duplex } = await dialRaw(router)
    duplex.send({ id: 1, method: 'subscription', params: { path: 'flood' } })
    // The peer does not read. 1 MiB may wait on this side, and a few MiB in the socket's buffers on loopback.
    const behind = async (): Promise<number> => {
      const before = pulled.length
      for (let turn = 0; turn < 200; turn++) await new Promise(resolve => setImmediate(resolve))
      return pulled.length - before
    }
    await expect.poll(behind).toBe(0)
    expect(pulled.length).toBeGreaterThanOrEqual(16)
    expect(pulled.length).toBeLessThan(256)
    expect(await behind()).toBe(0)
    const { send, until, received } = peer(duplex)
    await until(300)
    send({ id: 1, method: 'subscription.stop' })
    await expect.poll(() => received.at(-1)).toEqual({ id: 1, result: { type: 'stopped' } })
  })

  it('a source cleans up if its slow reader vanishes', async () => {
    const { router, pulled, flooded } = testRouter()
    const { duplex, served } = await dialRaw(router)
    duplex.send({ id: 1, method: 'subscription', params: { path: 'flood' } })
    // As much as may wait on this side, so that it is not pulled any more.
    await expect.poll(() => pulled.length).toBeGreaterThanOrEqual(16)
    duplex.open({ onMessage() {}, onDrain() {}, onClose() {} })
    duplex.terminate({ code: 1006, message: 'vanished' })
    await flooded
    await served.closed
  })

  it('return() is called on a source that waits in next(), and ends the source', async () => {
    const returned = gate()
    const next = gate<IteratorResult<string>>()
    const router = t.router({
      silent: t.procedure.subscription(() => ({
        [Symbol.asyncIterator]: () => ({
          next: () => next.passed,
          return: async () => {
            returned.open()
            return { done: true as const, value: undefined }
          },
        }),
      })),
      next: t.procedure.query(() => 'next'),
    })
    const { duplex } = await dialRaw(router, { limits: { maxInFlight: 1 } })
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'subscription', params: { path: 'silent' } })
    await until(1)
    send({ id: 1, method: 'subscription.stop' })
    await returned.passed
    // One place is free: a source left waiting in next() does not take the place.
    send({ id: 2, method: 'query', params: { path: 'next' } })
    expect((await until(3))[2]).toEqual({ id: 2, result: { type: 'data', data: { json: 'next' } } })
    next.open({ done: true, value: undefined })
  })

  it('a source whose return cannot be read is reported, and releases its place', async () => {
    const reports: ErrorReport[] = []
    const next = gate<IteratorResult<string>>()
    const router = t.router({
      silent: t.procedure.subscription(() => ({
        [Symbol.asyncIterator]: () => ({
          next: () => next.passed,
          get return(): never {
            throw new Error('no return')
          },
        }),
      })),
      next: t.procedure.query(() => 'next'),
    })
    const { duplex } = await dialRaw(router, { limits: { maxInFlight: 1 }, onError: report => reports.push(report) })
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'subscription', params: { path: 'silent' } })
    await until(1)
    send({ id: 1, method: 'subscription.stop' })
    send({ id: 2, method: 'query', params: { path: 'next' } })
    expect((await until(3))[2]).toEqual({ id: 2, result: { type: 'data', data: { json: 'next' } } })
    expect(reports).toMatchObject([{ path: 'silent', error: { message: 'no return' } }])
    next.open({ done: true, value: undefined })
  })

  it('the end of a source without return() is awaited', async () => {
    const next = gate<IteratorResult<string>>()
    const asked = gate()
    const source = {
      next: () => {
        asked.open()
        return next.passed
      },
    }
    const router = t.router({
      silent: t.procedure.subscription(() => ({ [Symbol.asyncIterator]: () => source })),
      next: t.procedure.query(() => 'next'),
    })
    const { duplex } = await dialRaw(router, { limits: { maxInFlight: 1 } })
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'subscription', params: { path: 'silent' } })
    await asked.passed
    send({ id: 1, method: 'subscription.stop' })
    send({ id: 2, method: 'query', params: { path: 'next' } })
    send('PING')
    await until(3)
    await new Promise(resolve => setImmediate(resolve))
    send('PING')
    expect((await until(4)).slice(1)).toEqual([{ id: 1, result: { type: 'stopped' } }, 'PONG', 'PONG'])
    next.open({ done: true, value: undefined })
    expect((await until(5))[4]).toEqual({ id: 2, result: { type: 'data', data: { json: 'next' } } })
  })

  it('a subscription ends after return() of its source has settled, also if return() fails', async () => {
    for (const outcome of ['resolves', 'rejects']) {
      const [next, returned] = [gate<IteratorResult<string>>(), gate<IteratorResult<string>>()]
      const reports: ErrorReport[] = []
      const router = t.router({
        silent: t.procedure.subscription(() => ({
          [Symbol.asyncIterator]: () => ({ next: () => next.passed, return: () => returned.passed }),
        })),
        next: t.procedure.query(() => 'next'),
      })
      const { duplex } = await dialRaw(router, { limits: { maxInFlight: 1 }, onError: report => reports.push(report) })
      const { send, until } = peer(duplex)
      send({ id: 1, method: 'subscription', params: { path: 'silent' } })
      await until(1)
      send({ id: 1, method: 'subscription.stop' })
      send({ id: 2, method: 'query', params: { path: 'next' } })
      send('PING')
      await until(3)
      await new Promise(resolve => setImmediate(resolve))
      send('PING')
      expect((await until(4)).slice(1)).toEqual([{ id: 1, result: { type: 'stopped' } }, 'PONG', 'PONG'])
      if (outcome === 'resolves') returned.open({ done: true, value: undefined })
      else returned.fail(new Error('cannot clean up'))
      expect((await until(5))[4]).toEqual({ id: 2, result: { type: 'data', data: { json: 'next' } } })
      expect(reports.map(({ error }) => error.message)).toEqual(outcome === 'resolves' ? [] : ['cannot clean up'])
      next.open({ done: true, value: undefined })
    }
  })

  it('a source that fails, or whose event cannot be sent, cleans up', async () => {
    const cleaned: string[] = []
    const source = (name: string, next: () => Promise<IteratorResult<string>>) =>
      t.procedure.subscription(() => ({
        [Symbol.asyncIterator]: () => ({
          next,
          return: async () => {
            cleaned.push(name)
            return { done: true as const, value: undefined }
          },
        }),
      }))
    const router = t.router({
      failing: source('failing', () => Promise.reject(new Error('no more'))),
      large: source('large', async () => ({ value: 'x'.repeat(5_000_000) })),
    })
    const { duplex, served } = await dialRaw(router)
    const { send, until } = peer(duplex)
    for (const path of ['failing', 'large']) send({ id: path, method: 'subscription', params: { path } })
    const responses = await until(4)
    expect(responses).toContainEqual(expect.objectContaining({ id: 'failing', error: expect.anything() }))
    expect(responses).toContainEqual(expect.objectContaining({ id: 'large', error: expect.anything() }))
    expect(cleaned.toSorted()).toEqual(['failing', 'large'])
    duplex.close({ code: 1000, message: 'done' })
    await served.closed
    expect(cleaned).toHaveLength(2)
  })

  it('at the end of the grace calls get an error and subscriptions are cut, and go on elsewhere', async () => {
    const [started, aborted] = [gate(), gate<unknown>()]
    const router = t.router({
      ...testRouter().router._def.record,
      deaf: t.procedure.mutation(({ signal }) => {
        signal?.addEventListener('abort', () => aborted.open(signal.reason))
        started.open()
        return aborted.passed
      }),
    })
    const { duplex, group } = await dialRaw(router)
    const { send, until, closed, received } = peer(duplex)
    send({ id: 1, method: 'subscription', params: { path: 'waits' } })
    await until(2)
    send({ id: 2, method: 'mutation', params: { path: 'deaf' } })
    await started.passed
    expect(await group.close({ graceMs: 20 })).toEqual({ drained: 0, aborted: 1 })
    expect(await closed).toMatchObject({ code: 1001 })
    expect(await aborted.passed).toMatchObject({ reason: 'draining' })
    expect(received.slice(2)).toMatchObject([
      { id: null, method: 'reconnect' },
      { id: 2, error: { json: { data: { code: 'SERVICE_UNAVAILABLE', reason: 'draining', mayHaveRun: true } } } },
    ])
    expect(received).toHaveLength(4)
  })

  it('subscriptions above the limit are rejected with the number', async () => {
    const { router } = testRouter()
    const { duplex } = await dialRaw(router, { limits: { maxSubscriptions: 1 } })
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'subscription', params: { path: 'waits' } })
    await until(2)
    send({ id: 2, method: 'subscription', params: { path: 'waits' } })
    expect((await until(3))[2]).toMatchObject({
      id: 2,
      error: { json: { data: { code: 'TOO_MANY_REQUESTS', reason: 'too_many_subscriptions' } } },
    })
  })
})
