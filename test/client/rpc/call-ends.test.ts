import { initTRPC } from '@trpc/server'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createDuplexClient } from '../../../client/rpc/client.js'
import type { CallEnd } from '../../../shared/rpc/call-end.js'
import type { RpcError } from '../../../shared/rpc/errors.js'
import { transformer } from '../../../shared/rpc/json/transformer.js'
import { leavesNothing } from '../../fixtures/leaves-nothing.js'
import { clientLinks } from '../../fixtures/links.js'
import { ownError } from '../../fixtures/own-reasons.js'
import { gate, peer } from '../../fixtures/peer.js'

const t = initTRPC.context<object>().create({
  transformer,
  errorFormatter: ({ shape }) => ({ ...shape, data: { ...shape.data, since: new Date(0) } }),
})

function testRouter() {
  const started = gate()
  const router = t.router({
    echo: t.procedure.input(z.number()).query(({ input }) => input),
    conflict: t.procedure.mutation(() => {
      throw ownError('seat_taken', 'id 7 is in use')
    }),
    crash: t.procedure.query(() => {
      throw new Error('MARKED')
    }),
    wait: t.procedure.mutation(({ signal }) => {
      started.open()
      return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
    }),
    count: t.procedure.input(z.number()).subscription(async function* ({ input }) {
      for (let number = 0; number < input; number++) yield number
    }),
    endless: t.procedure.subscription(async function* ({ signal }) {
      yield 0
      await new Promise(resolve => signal?.addEventListener('abort', resolve))
    }),
  })
  return { router, started: started.passed }
}

/** The reports to an observer, and a wait for them. */
function observed<E>(): { ends: E[]; take: (end: E) => void; until(count: number): Promise<E[]> } {
  const ends: E[] = []
  const waiting: { count: number; resolve: (ends: E[]) => void }[] = []
  return {
    ends,
    take(end) {
      ends.push(end)
      for (const { count, resolve } of waiting) if (ends.length >= count) resolve(ends)
    },
    until: count =>
      new Promise(resolve => {
        if (ends.length >= count) resolve(ends)
        else waiting.push({ count, resolve })
      }),
  }
}

describe.each(clientLinks)('$name', ({ link, dialRaw }) => {
  leavesNothing()

  /** A client and a server with observers, which throw after they have recorded a report. */
  function connected() {
    const [server, client] = [observed<CallEnd>(), observed<CallEnd>()]
    const { router, started } = testRouter()
    const linked = link(router, {
      onCallEnd(end) {
        server.take(end)
        throw new Error('an observer that throws')
      },
      client: {
        onCallEnd(end) {
          client.take(end)
          throw new Error('an observer that throws')
        },
      },
    })
    const stub = createDuplexClient<typeof router>({ connection: linked.connection, transformer })
    return { ...linked, server, client, started, stub }
  }

  test('both ends report each call once, with its code and its duration', async () => {
    const { stub, server, client } = connected()
    expect(await stub.echo.query(7)).toBe(7)
    await expect(stub.conflict.mutate()).rejects.toMatchObject({ data: { reason: 'seat_taken' } })
    await expect(stub.crash.query()).rejects.toThrow('internal server error')
    await expect(stub.echo.query('x' as never)).rejects.toThrow()
    for (const { ends } of [server, client]) {
      expect(ends).toEqual([
        { type: 'query', path: 'echo', code: undefined, durationMs: expect.any(Number) },
        { type: 'mutation', path: 'conflict', code: 'CONFLICT', durationMs: expect.any(Number) },
        { type: 'query', path: 'crash', code: 'INTERNAL_SERVER_ERROR', durationMs: expect.any(Number) },
        { type: 'query', path: 'echo', code: 'BAD_REQUEST', durationMs: expect.any(Number) },
      ])
    }
    for (const { durationMs } of [...server.ends, ...client.ends]) expect(durationMs).toBeGreaterThanOrEqual(0)
    for (const { durationMs } of [...server.ends, ...client.ends]) expect(durationMs).toBeLessThan(10_000)
  })

  test('a call that its caller cancels, or whose deadline passes, ends once on each side', async () => {
    const { stub, server, client, started } = connected()
    const cancel = new AbortController()
    const cancelled = expect(stub.wait.mutate(undefined, { signal: cancel.signal })).rejects.toThrow()
    await started
    cancel.abort()
    await cancelled
    await expect(stub.wait.mutate(undefined, { context: { timeoutMs: 20 } })).rejects.toThrow()
    await server.until(2)
    expect(server.ends[0]).toMatchObject({ path: 'wait', code: 'CLIENT_CLOSED_REQUEST' })
    expect(['TIMEOUT', 'CLIENT_CLOSED_REQUEST']).toContain(server.ends[1]?.code)
    expect(client.ends[0]).toMatchObject({ path: 'wait', code: 'CLIENT_CLOSED_REQUEST' })
    expect(client.ends).toHaveLength(2)
    expect(client.ends[1]?.durationMs).toBeGreaterThanOrEqual(15)
  })

  test('an error that the observer saw reaches its caller whole', async () => {
    const { stub, client } = connected()
    const error: unknown = await stub.conflict.mutate().catch(thrown => thrown)
    expect(client.ends).toMatchObject([{ path: 'conflict', code: 'CONFLICT' }])
    // Decoding changes the encoded value: a second decoding would not return a Date.
    expect(error).toMatchObject({ data: { code: 'CONFLICT', since: new Date(0) } })
  })

  test('a subscription ends without an error, by its source and by its client', async () => {
    const { stub, server, client } = connected()
    await new Promise<void>(resolve => void stub.count.subscribe(2, { onComplete: resolve }))
    const { unsubscribe } = await new Promise<{ unsubscribe(): void }>(resolve => {
      const subscription = stub.endless.subscribe(undefined, { onData: () => resolve(subscription) })
    })
    unsubscribe()
    await server.until(2)
    for (const { ends } of [server, client]) {
      expect(ends).toMatchObject([
        { type: 'subscription', path: 'count', code: undefined },
        { type: 'subscription', path: 'endless', code: undefined },
      ])
    }
  })

  test('calls of a connection that is lost end on both sides', async () => {
    const { stub, server, client, started, sever } = connected()
    const lost = expect(stub.wait.mutate()).rejects.toMatchObject({ data: { reason: 'connection_lost' } })
    await started
    sever()
    await lost
    await server.until(1)
    expect(server.ends).toMatchObject([{ path: 'wait', code: 'CLIENT_CLOSED_REQUEST' }])
    expect(client.ends).toMatchObject([{ path: 'wait', code: 'SERVICE_UNAVAILABLE' }])
  })

  test('a call that is rejected before its start is reported, with no duration', async () => {
    const { router } = testRouter()
    const server = observed<CallEnd>()
    const { duplex } = await dialRaw(router, { limits: { maxInFlight: 1 }, onCallEnd: server.take })
    const { send, until } = peer(duplex)
    for (const id of [1, 2]) send({ id, method: 'mutation', params: { path: 'wait' } })
    await until(1)
    send({ id: 3, method: 'query', params: { path: 'no.such.procedure' } })
    send({ id: 1, method: 'subscription.stop' })
    await server.until(3)
    expect(server.ends).toEqual([
      { type: 'mutation', path: 'wait', code: 'TOO_MANY_REQUESTS', durationMs: 0 },
      { type: 'query', path: 'no.such.procedure', code: 'TOO_MANY_REQUESTS', durationMs: 0 },
      { type: 'mutation', path: 'wait', code: 'CLIENT_CLOSED_REQUEST', durationMs: expect.any(Number) },
    ])
  })

  test('calls that are queued when their connection closes, or when their caller cancels, end once each, with no duration', async () => {
    const { router } = testRouter()
    const server = observed<CallEnd>()
    const { duplex } = await dialRaw(router, {
      createContext: () => new Promise<object>(() => {}),
      onCallEnd: server.take,
    })
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'subscription', params: { path: 'endless' } })
    send({ id: 2, method: 'query', params: { path: 'echo' } })
    send({ id: 3, method: 'subscription', params: { path: 'count' } })
    send({ id: 1, method: 'subscription.stop' })
    await until(1)
    duplex.close({ code: 1000, message: 'bye' })
    await server.until(3)
    expect(server.ends).toEqual([
      { type: 'subscription', path: 'endless', code: undefined, durationMs: 0 },
      { type: 'query', path: 'echo', code: 'CLIENT_CLOSED_REQUEST', durationMs: 0 },
      { type: 'subscription', path: 'count', code: 'CLIENT_CLOSED_REQUEST', durationMs: 0 },
    ])
  })

  test('a connection that gets no context is reported with its reason', async () => {
    const { router } = testRouter()
    const rejected = gate<RpcError<string>>()
    const { duplex } = await dialRaw(router, {
      createContext: () => {
        throw ownError('ticket_invalid', 'no')
      },
      onRejected: rejected.open,
    })
    peer(duplex)
    expect(await rejected.passed).toMatchObject({ code: 'UNAUTHORIZED', reason: 'ticket_invalid' })
  })
})
