import { initTRPC } from '@trpc/server'
import { describe, expect, it } from 'vitest'
import { leavesNothing } from '../../fixtures/leaves-nothing.js'
import { linksBothWays } from '../../fixtures/links.js'
import { gate, peer } from '../../fixtures/peer.js'

const t = initTRPC.create()

/** One procedure of each kind, which runs until its signal aborts. */
function waitingRouter() {
  const started = gate()
  const aborted = gate<unknown>()
  const wait = async (signal: AbortSignal | undefined): Promise<void> => {
    started.open()
    await new Promise<void>(resolve => signal?.addEventListener('abort', () => resolve(), { once: true }))
    aborted.open(signal?.reason)
  }
  const router = t.router({
    query: t.procedure.query(({ signal }) => wait(signal)),
    mutation: t.procedure.mutation(({ signal }) => wait(signal)),
    // biome-ignore lint/correctness/useYield: it waits for ever
    subscription: t.procedure.subscription(async function* ({ signal }) {
      await wait(signal)
    }),
  })
  return { router, started: started.passed, aborted: aborted.passed }
}

const types = ['query', 'mutation', 'subscription'] as const
const causes = ['a cancel', 'its deadline', 'a lost connection', 'a shutdown'] as const

describe.each(linksBothWays)('the signal of a procedure, $name', ({ dialRaw }) => {
  leavesNothing()

  it.each(types.flatMap(type => causes.map(cause => ({ type, cause }))))(
    'the signal of a procedure aborts: a $type, by $cause',
    async ({ type, cause }) => {
      const { router, started, aborted } = waitingRouter()
      const { duplex, group } = await dialRaw(router)
      const { send } = peer(duplex)
      const timeoutMs = cause === 'its deadline' ? { timeoutMs: 50 } : {}
      send({ id: 1, method: type, params: { path: type, ...timeoutMs } })
      await started
      if (cause === 'a cancel') send({ id: 1, method: 'subscription.stop' })
      if (cause === 'a lost connection') duplex.terminate({ code: 1006, message: 'lost' })
      const closing = cause === 'a shutdown' ? group.close({ graceMs: 20 }) : undefined
      expect(await aborted).toMatchObject({ name: 'RpcError', ...expected(type, cause) })
      await closing
    },
  )
})

function expected(type: (typeof types)[number], cause: (typeof causes)[number]): object {
  switch (cause) {
    case 'a cancel':
      return { code: 'CLIENT_CLOSED_REQUEST', message: 'the caller cancelled' }
    case 'its deadline':
      return { code: 'TIMEOUT' }
    case 'a lost connection':
      return { code: 'CLIENT_CLOSED_REQUEST', reason: 'connection_lost' }
    case 'a shutdown':
      // A subscription is not waited for: it may be cut with its connection before the grace is over.
      return type === 'subscription' ? {} : { code: 'SERVICE_UNAVAILABLE', reason: 'draining' }
  }
}
