/** A router that the dialling side serves: what its callers see, and how that side dials and stops. */
import { initTRPC } from '@trpc/server'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createDuplexClient } from '../../../client/rpc/client.js'
import { type ConnectOptions, connect } from '../../../client/rpc/connection.js'
import { ConnectionGroup } from '../../../server/rpc/connection-group.js'
import { type ServeDialOptions, serveDial } from '../../../server/rpc/serve-dial.js'
import type { AnyRouter } from '../../../server/rpc/trpc-internals.js'
import { DialError } from '../../../shared/rpc/dial-error.js'
import type { Duplex } from '../../../shared/rpc/duplex.js'
import { memoryDuplexPair } from '../../../shared/rpc/links/memory-duplex.js'
import { ParkedDial } from '../../../shared/rpc/links/parked-dial.js'
import { leavesNothing, opened } from '../../fixtures/leaves-nothing.js'
import { type Reversal, reversals } from '../../fixtures/links.js'
import { gate, peer } from '../../fixtures/peer.js'

const t = initTRPC.context<object>().create()

function testRouter() {
  const aborted = gate<unknown>()
  const started = gate()
  const release = gate()
  let runs = 0
  const router = t.router({
    ping: t.procedure.query(() => 'pong'),
    large: t.procedure.query(() => 'x'.repeat(3 * 1024 * 1024)),
    count: t.procedure.input(z.number()).subscription(async function* ({ input }) {
      for (let n = 1; n <= input; n++) yield n
    }),
    hold: t.procedure.query(({ signal }) => {
      started.open()
      return new Promise((_, reject) =>
        signal?.addEventListener('abort', () => {
          aborted.open(signal.reason)
          reject(signal.reason)
        }),
      )
    }),
    /** Ends when the test says so; the first run may be lost. */
    wait: t.procedure.query(async () => {
      runs++
      started.open()
      await release.passed
      return runs
    }),
    once: t.procedure.mutation(async () => {
      runs++
      started.open()
      await release.passed
      return runs
    }),
  })
  return { router, aborted: aborted.passed, started: started.passed, release: () => release.open() }
}

/** The side that is dialled, with a connection to the side that serves. */
function caller({ start }: Reversal, options: Omit<ConnectOptions, 'dial'> = {}) {
  const brought: Duplex[] = []
  const { callers, dial, sever, closeServers } = start({}, duplex => {
    brought.push(duplex)
    parked.bring(duplex)
  })
  const parked = new ParkedDial({ group: callers })
  const connection = connect({ random: () => 0, ...options, dial: parked.dial })
  opened.add({
    groups: [callers],
    async close() {
      await connection.close()
      parked.close()
    },
    closeServers,
  })
  return { callers, connection, brought, sever, dial: ({ signal }: { signal: AbortSignal }) => dial(signal) }
}

function serve(options: ServeDialOptions<AnyRouter>) {
  const service = serveDial<AnyRouter>({ random: () => 0, ...options })
  opened.add({ groups: [], close: () => service.close({ graceMs: 0 }) })
  return service
}

describe.each(reversals)('a router served by the side that dials, $name', reversal => {
  leavesNothing()

  it('a call made before any side has dialled waits, and is served when one comes', async () => {
    const { connection, dial } = caller(reversal)
    const client = createDuplexClient<ReturnType<typeof testRouter>['router']>({ connection })
    const response = client.ping.query()
    const service = serve({ dial, router: testRouter().router })
    expect(await response).toBe('pong')
    expect([connection.state, service.state]).toEqual(['open', 'open'])
  })

  it('responses of 3 MiB and subscriptions arrive', async () => {
    const { connection, dial } = caller(reversal)
    const { router } = testRouter()
    serve({ dial, router })
    const client = createDuplexClient<typeof router>({ connection })
    expect(await client.large.query()).toHaveLength(3 * 1024 * 1024)
    const seen: number[] = []
    await new Promise<void>((onComplete, onError) =>
      client.count.subscribe(300, { onData: n => seen.push(n), onComplete, onError }),
    )
    expect(seen).toEqual(Array.from({ length: 300 }, (_, index) => index + 1))
  })

  it('a cancel and a deadline reach the signal of the procedure', async () => {
    const { connection, dial } = caller(reversal)
    for (const end of ['cancel', 'deadline']) {
      const { router, aborted, started } = testRouter()
      const service = serve({ dial, router })
      const client = createDuplexClient<typeof router>({ connection })
      // The time of the dial is not the call's.
      await client.ping.query()
      const abort = new AbortController()
      const options = end === 'cancel' ? { signal: abort.signal } : { context: { timeoutMs: 200 } }
      const ended = expect(client.hold.query(undefined, options)).rejects.toMatchObject({
        data: { code: end === 'cancel' ? 'CLIENT_CLOSED_REQUEST' : 'TIMEOUT' },
      })
      if (end === 'cancel') {
        await started
        abort.abort()
      }
      await ended
      // Of the two ends of a deadline either may be first: the caller's, which cancels, or the procedure's.
      expect(await aborted).toMatchObject({ code: expect.stringMatching(/^(CLIENT_CLOSED_REQUEST|TIMEOUT)$/) })
      await service.close()
    }
  })

  it('after a cut the side dials again, and a query, or a call that may be resent, is sent again', async () => {
    const { connection, dial, sever } = caller(reversal, { resend: () => true })
    for (const name of ['wait', 'once'] as const) {
      const { router, started, release } = testRouter()
      const errors: Error[] = []
      const service = serve({ dial, router, onDialError: error => errors.push(error) })
      const client = createDuplexClient<typeof router>({ connection })
      const response = name === 'wait' ? client.wait.query() : client.once.mutate()
      await started
      sever()
      release()
      expect(await response).toBe(2)
      expect(errors).toMatchObject([{ reason: 'connection_lost' }])
      await service.close()
    }
  })

  it('close() of the connection reaches the far side with 1000', async () => {
    const { connection, dial } = caller(reversal)
    const { router } = testRouter()
    const service = serve({ dial, router, finalCloseCodes: { 1000: 'enough' } })
    await createDuplexClient<typeof router>({ connection }).ping.query()
    await connection.close()
    expect(await service.closed).toMatchObject({ code: 1000, reason: 'enough' })
  })

  it('a caller that drains gets its responses while the side already serves another one', async () => {
    const [first, second] = [caller(reversal), caller(reversal)]
    const { router, started, release } = testRouter()
    let next = first
    const service = serve({ dial: info => next.dial(info), router })
    const client = createDuplexClient<typeof router>({ connection: first.connection })
    const response = client.wait.query()
    await started
    next = second
    const closing = first.callers.close()
    // Rejected, not sent and not left waiting: another process may make the call.
    await expect(client.ping.query()).rejects.toMatchObject({
      data: { code: 'SERVICE_UNAVAILABLE', reason: 'draining', mayHaveRun: false },
    })
    expect(await createDuplexClient<typeof router>({ connection: second.connection }).ping.query()).toBe('pong')
    release()
    expect(await response).toBe(1)
    expect(await closing).toEqual({ drained: 1, aborted: 0 })
    expect(service.state).toBe('open')
  })

  it('close() lets calls in flight end, and sends later calls to the next side that dials', async () => {
    const { connection, dial } = caller(reversal)
    const { router, started, release } = testRouter()
    const errors: Error[] = []
    const states: string[] = []
    const service = serve({ dial, router, onDialError: error => errors.push(error) })
    const client = createDuplexClient<typeof router>({ connection })
    const response = client.wait.query()
    await started
    service.onStateChange(state => states.push(state))
    const left = gate()
    connection.onStateChange(state => state !== 'open' && left.open())
    const closing = service.close()
    await left.passed
    const later = client.ping.query()
    const next = serve({ dial, router })
    expect(await later).toBe('pong')
    release()
    expect([await response, await closing]).toEqual([1, { drained: 1, aborted: 0 }])
    expect(await service.closed).toEqual({ code: 1000, message: 'closed by this side' })
    expect([service.state, next.state]).toEqual(['closed', 'open'])
    expect({ errors, states }).toEqual({ errors: [], states: ['closed'] })
  })

  it.each([
    [4403, undefined],
    [4009, 'replaced'],
  ])('a final close code ends the service: %i', async (code, reason) => {
    const { brought, connection, dial } = caller(reversal)
    const { router, aborted, started } = testRouter()
    const service = serve({ dial, router, finalCloseCodes: { 4009: 'replaced' } })
    const lost = expect(
      createDuplexClient<typeof router>({ connection }).hold.query(undefined, { context: { timeoutMs: 1_000 } }),
    ).rejects.toMatchObject({ data: { mayHaveRun: true } })
    await started
    const states: string[] = []
    service.onStateChange(state => states.push(state))
    brought[0]?.close({ code, message: 'not you' })
    expect(await service.closed).toEqual({ code, message: 'not you', ...(reason && { reason }) })
    expect(await aborted).toMatchObject({ reason: 'connection_lost' })
    expect(states).toEqual(['closed'])
    await connection.close()
    await lost
  })
})

describe('a side that dials and serves', () => {
  leavesNothing()

  const { router } = testRouter()

  it('a failed dial is followed by another, and a fatal one by none', async () => {
    const errors: string[] = []
    const states: string[] = []
    const dials = ['not now', 'not you']
    const service = serve({
      router,
      onDialError: error => errors.push(error.message),
      async dial() {
        const message = dials.shift() ?? 'too often'
        throw new DialError(message, { fatal: message !== 'not now', reason: 'key_revoked' })
      },
    })
    service.onStateChange(state => states.push(state))
    expect(await service.closed).toEqual({ code: 1006, message: 'not you', reason: 'key_revoked' })
    expect({ errors, states }).toEqual({ errors: ['not now', 'not you'], states: ['waiting', 'connecting', 'closed'] })
    expect(await service.close()).toEqual({ drained: 0, aborted: 0 })
  })

  it('a close of the group ends the dialling, also within a dial', async () => {
    const group = new ConnectionGroup()
    const dialled = gate<AbortSignal>()
    const service = serve({
      router,
      group,
      dial({ signal }) {
        dialled.open(signal)
        return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      },
    })
    const signal = await dialled.passed
    await group.close()
    expect(signal.aborted).toBe(true)
    expect(await service.closed).toMatchObject({ code: 1000 })
    expect(service.state).toBe('closed')
  })

  it('a group that is closing already is not dialled for', async () => {
    const group = new ConnectionGroup()
    const closing = group.close()
    let dials = 0
    const service = serve({
      router,
      group,
      dial() {
        dials++
        throw new Error('the group is closing')
      },
    })
    expect(await service.closed).toMatchObject({ code: 1000 })
    expect(dials).toBe(0)
    await closing
  })

  it('each request for another connection is followed, and of the connections that are left eight stay', async () => {
    const fars: ReturnType<typeof peer>[] = []
    const dialled = [gate()]
    const service = serve({
      router: t.router({ hold: t.procedure.query(() => new Promise(resolve => released.push(() => resolve('done')))) }),
      dial() {
        const [near, far] = memoryDuplexPair()
        fars.push(peer(far))
        dialled.push(gate())
        dialled.at(-2)?.open()
        return near
      },
    })
    const released: (() => void)[] = []
    for (let count = 0; count < 10; count++) {
      await dialled[count]?.passed
      fars[count]?.send({ id: 1, method: 'query', params: { path: 'hold' } })
      fars[count]?.send({ id: null, method: 'reconnect' })
    }
    await dialled[10]?.passed
    // A second request for the same connection changes nothing.
    fars[9]?.send({ id: null, method: 'reconnect' })
    expect(await fars[0]?.closed).toMatchObject({ code: 1001 })
    expect(await fars[1]?.closed).toMatchObject({ code: 1001 })
    for (const release of released) release()
    expect(await Promise.all(fars.slice(2, 10).map(far => far.until(1)))).toHaveLength(8)
    expect(fars).toHaveLength(11)
    for (const far of fars.slice(2, 10)) expect(far.received).toMatchObject([{ id: 1, result: { data: 'done' } }])
    expect(service.state).toBe('open')
  })

  it('a final close code ends calls on connections that were left, too', async () => {
    const { router: held, aborted, started } = testRouter()
    const fars: ReturnType<typeof peer>[] = []
    const second = gate()
    const service = serve({
      router: held,
      dial() {
        const [near, far] = memoryDuplexPair()
        if (fars.push(peer(far)) === 2) second.open()
        return near
      },
    })
    fars[0]?.send({ id: 1, method: 'query', params: { path: 'hold' } })
    await started
    fars[0]?.send({ id: null, method: 'reconnect' })
    await second.passed
    const [near] = fars.slice(1)
    near?.close({ code: 4403, message: 'not you' })
    expect(await service.closed).toMatchObject({ code: 4403 })
    expect(await aborted).toMatchObject({ reason: 'draining' })
  })

  it('a duplex that cannot be opened is a failed dial, and counts nowhere', async () => {
    const [near, far] = memoryDuplexPair()
    const group = new ConnectionGroup()
    const errors: string[] = []
    const broken: Duplex = Object.assign(Object.create(near), {
      open() {
        throw new Error('broken')
      },
    })
    const duplexes = [broken, near]
    const open = gate()
    const service = serve({
      router,
      group,
      onDialError: error => errors.push(error.message),
      dial: () => duplexes.shift() ?? Promise.reject(new Error('too often')),
    })
    service.onStateChange(state => state === 'open' && open.open())
    await open.passed
    expect({ errors, connections: group.connections }).toEqual({ errors: ['broken'], connections: 1 })
    far.close({ code: 4403, message: 'done' })
    await service.closed
  })

  it('a time that is none is rejected at once', () => {
    expect(() =>
      serveDial({ router, createContext: () => ({}), handshakeTimeoutMs: Number.NaN, dial: reject }),
    ).toThrow(expect.objectContaining({ reason: 'config_invalid' }))
  })
})

function reject(): never {
  throw new DialError('never', { fatal: true })
}
