import { setImmediate as nextTurn } from 'node:timers/promises'
import { initTRPC, tracked } from '@trpc/server'
import superjson from 'superjson'
import { z } from 'zod'
import { gate } from '../fixtures/peer.js'

const t = initTRPC.context<{ who: string }>().create({ transformer: superjson })

/** The router of one test, with the promises and counts of its procedures. */
export function makeRouter() {
  const begun = gate()
  const aborted = gate()
  const release = gate()
  const resumedAfter: (number | undefined)[] = []
  const slowCalls = { now: 0, most: 0 }
  const afterEvent = z.object({ lastEventId: z.coerce.number().optional() })
  const router = t.router({
    whoami: t.procedure.query(({ ctx }) => ctx.who),
    echo: t.procedure.input(z.unknown()).mutation(({ input }) => input),
    /** runs until it is released or aborted */
    hang: t.procedure.query(async ({ signal }) => {
      signal?.addEventListener('abort', () => aborted.open())
      begun.open()
      await Promise.race([aborted.passed, release.passed])
      return 'released'
    }),
    slow: t.procedure.input(z.number()).query(async ({ input }) => {
      slowCalls.most = Math.max(slowCalls.most, ++slowCalls.now)
      if (slowCalls.most === 1000) release.open()
      await release.passed
      slowCalls.now--
      return input
    }),
    text: t.procedure.input(z.number()).mutation(({ input }) => 'x'.repeat(input)),
    /** all numbers from 1, or behind the last one */
    count: t.procedure.input(afterEvent).subscription(async function* ({ input, signal }) {
      resumedAfter.push(input.lastEventId)
      for (let n = (input.lastEventId ?? 0) + 1; !signal?.aborted; n++) {
        yield tracked(String(n), n)
        await nextTurn()
      }
    }),
  })
  return { router, begun, aborted, release, resumedAfter, slowCalls }
}

/** The router of {@link makeRouter}. */
export type Router = ReturnType<typeof makeRouter>['router']
