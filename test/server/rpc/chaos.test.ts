/**
 * Calls and subscriptions while connections are cut and servers drain at random. CI runs a few seeds; `npm run soak`
 * runs many, each for longer. The name of a test has its seed; `TEST_SEED=n npx vitest run
 * test/server/rpc/chaos.test.ts` begins with it.
 */
import { initTRPC, tracked } from '@trpc/server'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createDuplexClient } from '../../../client/rpc/client.js'
import { leavesNothing } from '../../fixtures/leaves-nothing.js'
import { links } from '../../fixtures/links.js'
import { randomFrom, runSeed } from '../../fixtures/random.js'

const isSoak = process.env.SOAK !== undefined
const seeds = Array.from({ length: isSoak ? 60 : 3 }, (_, n) => runSeed + n)
const steps = isSoak ? 3_000 : 300

const t = initTRPC.context<object>().create()
const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

function makeRouter() {
  /** how often each mutation ran, by its key */
  const runs = new Map<number, number>()
  const router = t.router({
    double: t.procedure.input(z.number()).query(async ({ input }) => {
      if (input % 3 === 0) await turn()
      return input * 2
    }),
    store: t.procedure.input(z.object({ key: z.number(), text: z.string() })).mutation(async ({ input }) => {
      runs.set(input.key, (runs.get(input.key) ?? 0) + 1)
      for (let wait = input.key % 4; wait > 0; wait--) await turn()
      return input.text.length
    }),
    count: t.procedure
      .input(z.object({ to: z.number(), lastEventId: z.string().optional() }))
      .subscription(async function* ({ input, signal }) {
        for (let id = Number(input.lastEventId ?? 0) + 1; id <= input.to && !signal?.aborted; id++) {
          yield tracked(String(id), 'x'.repeat((id * 997) % 5_000))
          if (id % 7 === 0) await turn()
        }
      }),
  })
  return { router, runs }
}

describe.each(links)('chaos, $name', ({ link }) => {
  leavesNothing()

  it.each(seeds)(
    'every call gets one correct response, no subscription has a gap or a repeat (seed %d)',
    async seed => {
      const random = randomFrom(seed)
      const { router, runs } = makeRouter()
      const { connection, group, served, sever, replace } = link(router, {
        client: { resend: () => true, maxInFlight: 32 },
      })
      const client = createDuplexClient<typeof router>({ connection })
      const outcomes: Promise<unknown>[] = []
      const closings: Promise<unknown>[] = []
      let current = group
      let responded = 0
      let lost = 0

      /** A call may be lost only where it was cut more often than it is sent again, or was cancelled by the test. */
      const settle = (call: Promise<unknown>, expected: unknown, cancelled = false): void => {
        outcomes.push(
          call.then(
            value => {
              responded++
              expect(value).toBe(expected)
            },
            error => {
              lost++
              const { code, reason } = error.data
              expect([code, reason]).toEqual(
                cancelled ? ['CLIENT_CLOSED_REQUEST', undefined] : ['SERVICE_UNAVAILABLE', 'connection_lost'],
              )
            },
          ),
        )
      }
      const subscribe = (to: number): void => {
        const observed: number[] = []
        const ended = new Promise<void>((resolve, reject) => {
          client.count.subscribe(
            { to },
            { onData: ({ id }) => observed.push(Number(id)), onComplete: resolve, onError: reject },
          )
        })
        outcomes.push(ended.then(() => expect(observed).toEqual(Array.from({ length: to }, (_, index) => index + 1))))
      }

      for (let step = 0; step < steps; step++) {
        const dice = random()
        if (dice < 0.45) settle(client.double.query(step), step * 2)
        else if (dice < 0.8) {
          const text = 'y'.repeat(Math.floor(random() * 2_000))
          settle(client.store.mutate({ key: step, text }), text.length)
        } else if (dice < 0.86) subscribe(1 + Math.floor(random() * 60))
        else if (dice < 0.9) {
          const controller = new AbortController()
          settle(client.store.mutate({ key: step, text: 'z' }, { signal: controller.signal }), 1, true)
          if (random() < 0.5) await turn()
          controller.abort()
        } else if (dice < 0.92) sever()
        else if (dice < 0.93) {
          const old = current
          current = replace()
          closings.push(old.close({ graceMs: Math.floor(random() * 3) * 1_000 + 1_000 }))
        } else if (dice < 0.94) await Promise.all(outcomes)
        if (random() < 0.4) await turn()
        // Chance may cut too little, and on a busy machine all steps pass before the client is connected again.
        if (step % 50 === 25) {
          sever()
          await client.double.query(step)
        }
      }
      await Promise.all(outcomes)
      await Promise.all(closings)
      // That there was chaos, and that it was the exception.
      expect(served.length).toBeGreaterThan(2)
      expect(responded).toBeGreaterThan(lost * 4)
      // Only calls in flight at a cut are sent again, so hardly any ran twice.
      expect([...runs.values()].every(count => count <= 3)).toBe(true)
      await connection.close()
    },
    isSoak ? 120_000 : 40_000,
  )
})
