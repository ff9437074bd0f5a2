import { initTRPC, lazy, TRPCError, tracked } from '@trpc/server'
import { observable } from '@trpc/server/observable'
import { z } from 'zod'
import { gate } from '../fixtures/peer.js'

/** The context of a connection in the tests with tRPC's own ends. */
export interface Context {
  user?: string
}
const t = initTRPC.context<Context>().create({
  errorFormatter: ({ shape, error, path, type, ctx }) => ({
    ...shape,
    data: {
      ...shape.data,
      fields: error.cause instanceof z.ZodError ? error.cause.issues.map(issue => issue.path.join('.')) : undefined,
      seen: [type, path, ctx?.user],
    },
  }),
})
const resumable = z.object({ lastEventId: z.string().optional() }).optional()
const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

/** A router with one of everything, whose procedures report to the test. */
export function testRouter() {
  const cleaned = gate()
  const started = gate()
  const release = gate()
  const runs: (string | undefined)[] = []
  let attempts = 0
  const router = t.router({
    echo: t.procedure.input(z.unknown()).query(({ input }) => input),
    add: t.procedure.input(z.object({ a: z.number(), b: z.number() })).mutation(({ input }) => input.a + input.b),
    nothing: t.procedure.mutation(() => {}),
    me: t.procedure.query(({ ctx }) => ctx.user ?? null),
    fail: t.procedure.mutation(() => {
      throw new TRPCError({ code: 'PAYMENT_REQUIRED', message: 'pay first' })
    }),
    flaky: t.procedure.query(() => {
      if (++attempts < 3) throw new TRPCError({ code: 'TOO_MANY_REQUESTS', message: `attempt ${attempts}` })
      return attempts
    }),
    slow: t.procedure.mutation(async () => {
      started.open()
      await release.passed
      return 'done'
    }),
    outer: t.procedure
      .use(({ ctx, next, path, type }) => next({ ctx: { user: `${ctx.user ?? 'nobody'} at ${type} ${path}` } }))
      .input(z.object({ n: z.number() }))
      .output(z.string())
      .query(({ ctx, input }) => (input.n > 0 ? ctx.user : (input.n as never))), // below 0 it breaks its own schema
    batchIndex: t.procedure
      .use(opts => opts.next({ ctx: { user: String(Reflect.get(opts, 'batchIndex')) } })) // not in the type of a middleware
      .query(({ ctx }) => ctx.user),
    later: lazy(async () => t.router({ hello: t.procedure.query(() => 'hello') })),
    count: t.procedure.input(resumable).subscription(async function* ({ input, signal }) {
      runs.push(input?.lastEventId)
      for (let id = Number(input?.lastEventId ?? 0) + 1; id <= 100 && !signal?.aborted; id++) {
        yield tracked(String(id), id)
        await turn()
      }
    }),
    endless: t.procedure.input(resumable).subscription(async function* ({ input, signal }) {
      runs.push(input?.lastEventId)
      try {
        for (let id = Number(input?.lastEventId ?? 0) + 1; !signal?.aborted; id++) {
          yield tracked(String(id), id)
          await turn()
        }
      } finally {
        cleaned.open()
      }
    }),
    observed: t.procedure.input(z.enum(['completes', 'fails', 'waits'])).subscription(({ input }) =>
      observable<string, TRPCError>(emit => {
        emit.next('first')
        if (input === 'completes') emit.complete()
        if (input === 'fails') emit.error(new TRPCError({ code: 'NOT_FOUND', message: 'no more' }))
        return () => {
          if (input === 'waits') cleaned.open()
        }
      }),
    ),
    fails: t.procedure.input(resumable).subscription(async function* ({ input }) {
      runs.push(input?.lastEventId)
      for (let id = Number(input?.lastEventId ?? 0) + 1; id <= 5; id++) {
        yield tracked(String(id), id)
        if (id === 3) throw new TRPCError({ code: 'CONFLICT', message: 'once more' })
      }
    }),
    unbegun: t.procedure.subscription((): AsyncIterable<string> => {
      throw new TRPCError({ code: 'UNPROCESSABLE_CONTENT', message: 'not even begun' })
    }),
  })
  return { router, cleaned: cleaned.passed, started: started.passed, release: release.open, runs }
}

export type TestRouter = ReturnType<typeof testRouter>['router']
