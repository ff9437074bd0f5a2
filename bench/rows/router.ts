/** The service as a tRPC router, and the calls of a tRPC client. */
import { initTRPC } from '@trpc/server'
import { z } from 'zod'
import { transformer } from '../../shared/rpc/json/transformer.js'
import type { OpenRow } from './row.js'
import type { Item, Service, TokenUsage } from './service.js'

const t = initTRPC.create({ transformer })

export type BenchRouter = ReturnType<typeof makeRouter>

const routers = new WeakMap<Service, BenchRouter>()

/** Returns the one router of a service: its connections share it. */
export function routerOf(service: Service): BenchRouter {
  const router = routers.get(service) ?? makeRouter(service)
  routers.set(service, router)
  return router
}

function makeRouter(service: Service) {
  return t.router({
    recorder: t.router({
      recordTokenUsage: t.procedure.input(service.schema).mutation(({ input }) => service.recordTokenUsage(input)),
      echo: t.procedure.input(service.schema).query(({ input }) => service.echo(input)),
    }),
    items: t.procedure.input(z.number()).subscription(({ input }) => service.items(input)),
  })
}

/** The calls that the rows need of a typed client, of tRPC or of this project. */
export interface BenchClient {
  recorder: {
    recordTokenUsage: { mutate(record: TokenUsage): Promise<unknown> }
    echo: { query(record: TokenUsage): Promise<unknown> }
  }
  items: { subscribe(count: number, callbacks: Callbacks): unknown }
}
interface Callbacks {
  onData(item: Item): void
  onComplete(): void
  onError(error: unknown): void
}

/** Returns the calls of `client`. */
export function callsOf(client: BenchClient): Pick<OpenRow, 'call' | 'echo'> {
  return {
    call: record => client.recorder.recordTokenUsage.mutate(record),
    echo: record => client.recorder.echo.query(record),
  }
}

/** Returns the stream of `client`. */
export function streamOf(client: BenchClient): Required<Pick<OpenRow, 'subscribe'>> {
  return {
    subscribe: (count, onData) =>
      new Promise((onComplete, onError) => {
        client.items.subscribe(count, { onData, onComplete, onError })
      }),
  }
}
