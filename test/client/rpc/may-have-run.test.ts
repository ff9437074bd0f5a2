import { initTRPC, TRPCError } from '@trpc/server'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createDuplexClient } from '../../../client/rpc/client.js'
import { type Connection, connect } from '../../../client/rpc/connection.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { transformer } from '../../../shared/rpc/json/transformer.js'
import { memoryDuplexPair } from '../../../shared/rpc/links/memory-duplex.js'
import { leavesNothing } from '../../fixtures/leaves-nothing.js'
import { clientLinks, type Link, type Linked } from '../../fixtures/links.js'
import { gate, peer } from '../../fixtures/peer.js'

const t = initTRPC.context<object>().create({ transformer })

function testRouter() {
  const started = gate()
  const release = gate()
  let runs = 0
  const wait = async () => {
    runs++
    started.open()
    await release.passed
  }
  const router = t.router({
    add: t.procedure.input(z.unknown()).mutation(() => ++runs),
    strict: t.procedure.input(z.string()).mutation(() => ++runs),
    missing: t.procedure.mutation(() => {
      throw new TRPCError({ code: 'NOT_FOUND', message: 'no such row' })
    }),
    fault: t.procedure.mutation(() => {
      throw new Error('MARKED')
    }),
    wait: t.procedure.mutation(wait),
    read: t.procedure.query(wait),
    forever: t.procedure.subscription(async function* ({ signal }) {
      yield 1
      await new Promise(resolve => signal?.addEventListener('abort', resolve))
    }),
  })
  return { router, started: started.passed, release: release.open, runs: () => runs }
}

type Router = ReturnType<typeof testRouter>['router']
type Client = ReturnType<typeof createDuplexClient<Router>>

interface Scene extends Linked, ReturnType<typeof testRouter> {
  client: Client
}

type Options = NonNullable<Parameters<Link['link']>[1]>

interface Row {
  name: string
  options?: () => Options
  /** Returns the call that fails. */
  run: (scene: Scene) => Promise<unknown>
  data: { code: string; reason?: string; mayHaveRun: boolean | undefined }
}

const rejecting = (code: TRPCError['code']): Options => ({
  createContext: async () => {
    throw new RpcError<string>(code as 'UNAUTHORIZED', 'not you', { reason: 'ticket_expired' }) // a code of both lists
  },
})

/** The first connection has a context, later ones are rejected. */
function rejectingLater(): Options {
  let contexts = 0
  return {
    createContext: async () => {
      if (++contexts > 1) throw new RpcError<string>('FORBIDDEN', 'not any more', { reason: 'ticket_revoked' })
      return {}
    },
  }
}

const rows: Row[] = [
  {
    name: 'a procedure that does not exist',
    run: ({ client }) => (client as unknown as { absent: Client['add'] }).absent.mutate(1), // another router's client
    data: { code: 'NOT_FOUND', mayHaveRun: false },
  },
  {
    name: 'a path of the prototype',
    run: ({ client }) => (client as unknown as { constructor: Client['add'] }).constructor.mutate(1), // another router's client
    data: { code: 'NOT_FOUND', mayHaveRun: false },
  },
  {
    name: 'a procedure of another type',
    run: ({ client }) => (client.add as unknown as Client['read']).query(), // another router's client
    data: { code: 'NOT_FOUND', mayHaveRun: false },
  },
  {
    name: 'a NOT_FOUND of the procedure',
    run: ({ client }) => client.missing.mutate(),
    data: { code: 'NOT_FOUND', mayHaveRun: undefined },
  },
  {
    name: 'a fault of the procedure',
    run: ({ client }) => client.fault.mutate(),
    data: { code: 'INTERNAL_SERVER_ERROR', mayHaveRun: undefined },
  },
  {
    name: 'an input that the procedure rejects',
    run: ({ client }) => client.strict.mutate(1 as never),
    data: { code: 'BAD_REQUEST', mayHaveRun: undefined },
  },
  {
    name: 'a call above maxInFlight',
    options: () => ({ limits: { maxInFlight: 1 } }),
    run: async ({ client, started, release }) => {
      const running = client.wait.mutate()
      await started
      return client.add.mutate(1).finally(async () => {
        release()
        await running
      })
    },
    data: { code: 'TOO_MANY_REQUESTS', reason: 'too_many_calls', mayHaveRun: false },
  },
  {
    name: 'a subscription above maxSubscriptions',
    options: () => ({ limits: { maxSubscriptions: 0 } }),
    run: async ({ client }) => {
      for await (const _ of client.forever.subscribe()) break
    },
    data: { code: 'TOO_MANY_REQUESTS', reason: 'too_many_subscriptions', mayHaveRun: false },
  },
  {
    name: 'a deadline of a running call',
    run: async ({ client, release }) => {
      await client.add.mutate(1)
      return client.wait.mutate(undefined, { context: { timeoutMs: 20 } }).finally(release)
    },
    data: { code: 'TIMEOUT', mayHaveRun: true },
  },
  {
    name: 'a deadline that has passed before',
    run: ({ client }) => client.add.mutate(1, { context: { timeoutMs: 0 } }),
    data: { code: 'TIMEOUT', mayHaveRun: false },
  },
  {
    name: 'a cancel of a running call',
    run: async ({ client, started, release }) => {
      const abort = new AbortController()
      const call = client.wait.mutate(undefined, { signal: abort.signal })
      void started.then(() => abort.abort())
      return call.finally(release)
    },
    data: { code: 'CLIENT_CLOSED_REQUEST', mayHaveRun: true },
  },
  {
    name: 'a cancel before there is a connection',
    run: ({ client }) => {
      const abort = new AbortController()
      const call = client.add.mutate(1, { signal: abort.signal })
      abort.abort()
      return call
    },
    data: { code: 'CLIENT_CLOSED_REQUEST', mayHaveRun: false },
  },
  {
    name: 'an input that cannot be encoded',
    run: ({ client }) =>
      client.add.mutate({
        get fault() {
          throw new Error('MARKED')
        },
      }),
    data: { code: 'BAD_REQUEST', reason: 'not_encodable', mayHaveRun: false },
  },
  {
    name: 'an input that is too large',
    run: ({ client }) => client.add.mutate('x'.repeat(5_000_000)),
    data: { code: 'PAYLOAD_TOO_LARGE', reason: 'message_too_large', mayHaveRun: false },
  },
  {
    name: 'a rejection after the upgrade, 4401',
    options: () => rejecting('UNAUTHORIZED'),
    run: ({ client }) => client.add.mutate(1),
    data: { code: 'UNAUTHORIZED', reason: 'ticket_expired', mayHaveRun: false },
  },
  {
    name: 'a rejection after the upgrade, 4403',
    options: () => rejecting('FORBIDDEN'),
    run: ({ client }) => client.add.mutate(1),
    data: { code: 'FORBIDDEN', reason: 'ticket_expired', mayHaveRun: false },
  },
  {
    name: 'a call on a connection that was rejected before',
    options: () => rejecting('UNAUTHORIZED'),
    run: async ({ client, connection }) => {
      await connection.closed
      return client.add.mutate(1)
    },
    data: { code: 'UNAUTHORIZED', reason: 'ticket_expired', mayHaveRun: false },
  },
  {
    name: 'a rejection of the second connection of a running call',
    options: rejectingLater,
    run: async ({ client, started, sever, release }) => {
      const call = client.read.query()
      await started
      sever()
      return call.finally(release)
    },
    data: { code: 'FORBIDDEN', reason: 'ticket_revoked', mayHaveRun: true },
  },
  {
    name: 'a rejection of the second connection, for a new call',
    options: rejectingLater,
    run: async ({ client, connection, sever }) => {
      await client.add.mutate(1)
      sever()
      await new Promise<void>(resolve => connection.onStateChange(state => state === 'waiting' && resolve()))
      return client.add.mutate(1)
    },
    data: { code: 'FORBIDDEN', reason: 'ticket_revoked', mayHaveRun: false },
  },
  {
    name: 'a lost connection',
    run: async ({ client, started, sever, release }) => {
      const call = client.wait.mutate()
      await started
      sever()
      return call.finally(release)
    },
    data: { code: 'SERVICE_UNAVAILABLE', reason: 'connection_lost', mayHaveRun: true },
  },
  {
    name: 'a connection that is given up in the turn of the call, and closed',
    run: async ({ client, connection, giveUp }) => {
      await client.add.mutate(1)
      const call = client.add.mutate(2)
      giveUp()
      void connection.close()
      return call
    },
    data: { code: 'SERVICE_UNAVAILABLE', reason: 'connection_closed', mayHaveRun: false },
  },
  {
    name: 'a cancel after a connection that is given up in the turn of the call',
    run: async ({ client, giveUp }) => {
      await client.add.mutate(1)
      const abort = new AbortController()
      const call = client.add.mutate(2, { signal: abort.signal })
      giveUp()
      abort.abort()
      return call
    },
    data: { code: 'CLIENT_CLOSED_REQUEST', mayHaveRun: false },
  },
  {
    name: 'a connection that is given up after the turn of the call',
    run: async ({ client, started, giveUp, release }) => {
      const call = client.wait.mutate()
      await started
      const late = client.add.mutate(1)
      giveUp()
      // The later call has not left, and is sent again.
      const [, { status }] = await Promise.allSettled([call, late])
      expect(status).toBe('fulfilled')
      return call.finally(release)
    },
    data: { code: 'SERVICE_UNAVAILABLE', reason: 'connection_lost', mayHaveRun: true },
  },
  {
    name: 'a shutdown whose grace is over',
    run: async ({ client, started, group, release }) => {
      const call = client.wait.mutate()
      await started
      const closing = group.close({ graceMs: 0 })
      return call.finally(async () => {
        release()
        await closing
      })
    },
    data: { code: 'SERVICE_UNAVAILABLE', reason: 'draining', mayHaveRun: true },
  },
  {
    name: 'close() of this side, with a running call',
    run: async ({ client, started, connection, release }) => {
      const call = client.wait.mutate()
      await started
      void connection.close()
      return call.finally(release)
    },
    data: { code: 'SERVICE_UNAVAILABLE', reason: 'connection_closed', mayHaveRun: true },
  },
  {
    name: 'close() of this side, with a call that waits',
    run: ({ client, connection }) => {
      const call = client.add.mutate(1)
      void connection.close()
      return call
    },
    data: { code: 'SERVICE_UNAVAILABLE', reason: 'connection_closed', mayHaveRun: false },
  },
]

describe.each(clientLinks)('whether a failed call may have run, $name', ({ link, dialRaw }) => {
  leavesNothing()

  function scene(options: Options | undefined): Scene {
    const test = testRouter()
    const linked = link(test.router, options)
    return { ...test, ...linked, client: clientOf(linked.connection) }
  }

  it.each(rows)('$name: $data.mayHaveRun', async ({ options, run, data }) => {
    const error: unknown = await run(scene(options?.())).then(
      () => expect.fail('resolved'),
      thrown => thrown,
    )
    const { code, reason, mayHaveRun } = Reflect.get(Object(error), 'data') as Row['data'] // of a TRPCClientError
    expect({ code, reason, mayHaveRun }).toEqual({ reason: undefined, ...data })
  })

  it('a duplicate id, a message that is no call and a running call that is cancelled say so too', async () => {
    const { router, started, release } = testRouter()
    const { duplex } = await dialRaw(router)
    const { send, until } = peer(duplex)
    send({ id: 1, method: 'mutation', params: { path: 'wait' } })
    await started
    send({ id: 1, method: 'mutation', params: { path: 'add' } })
    send({ id: 2, method: 'nothing' })
    send({ id: 1, method: 'subscription.stop' })
    const data = (code: string, mayHaveRun: boolean) => ({ error: { json: { data: { code, mayHaveRun } } } })
    expect(await until(3)).toMatchObject([
      { id: 1, ...data('CONFLICT', false) },
      { id: 2, ...data('PARSE_ERROR', false) },
      { id: 1, ...data('CLIENT_CLOSED_REQUEST', true) },
    ])
    release()
    duplex.close({ code: 1000, message: 'the test is over' })
  })

  it('mutations that waited in this process when their connection was given up are sent again, once each', async () => {
    const { client, runs, giveUp } = scene(undefined)
    await client.add.mutate(0)
    const calls = [1, 2, 3].map(input => client.add.mutate(input))
    giveUp()
    // Given to a duplex that has ended already.
    calls.push(client.add.mutate(4))
    expect(await Promise.all(calls)).toEqual([2, 3, 4, 5])
    expect(runs()).toBe(5)
  })

  it('a mutation whose connection got no context is sent again, because it has not run', async () => {
    let contexts = 0
    const { client, runs } = scene({
      createContext: async () => {
        if (++contexts < 4) throw new Error('MARKED')
        return {}
      },
    })
    expect(await client.add.mutate(1)).toBe(1)
    expect([contexts, runs()]).toEqual([4, 1])
  })
})

function clientOf(connection: Connection): Client {
  return createDuplexClient<Router>({ connection, transformer })
}

const plain = initTRPC.create().router({ read: initTRPC.create().procedure.query(() => 'read') })

describe('a call that was sent twice', () => {
  leavesNothing()

  it.each([
    [false, true],
    [true, true],
    [undefined, undefined],
  ])(
    'a call that was sent twice may have run on its first connection: %s of the second is %s',
    async (given, mayHaveRun) => {
      let dials = 0
      const connection = connect({
        random: () => 0,
        dial() {
          const isFirst = ++dials === 1
          const [serverEnd, clientEnd] = memoryDuplexPair()
          serverEnd.open({
            onMessage(message) {
              const error = {
                message: 'too many',
                code: -32029,
                data: { code: 'TOO_MANY_REQUESTS', mayHaveRun: given },
              }
              if (isFirst) serverEnd.terminate({ code: 1006, message: 'lost' })
              else serverEnd.send({ id: Reflect.get(Object(message), 'id'), error })
            },
            onDrain() {},
            onClose() {},
          })
          return clientEnd
        },
      })
      const error: unknown = await createDuplexClient<typeof plain>({ connection })
        .read.query()
        .catch((thrown: unknown) => thrown)
      expect(Reflect.get(Object(error), 'data')).toEqual({ code: 'TOO_MANY_REQUESTS', mayHaveRun })
      await connection.close()
    },
  )
})
