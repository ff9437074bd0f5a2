/** tRPC's own ways to call a router. */
import {
  createTRPCClient,
  createWSClient,
  TRPCClientError,
  type TRPCLink,
  unstable_localLink,
  wsLink,
} from '@trpc/client'
import { applyWSSHandler } from '@trpc/server/adapters/ws'
import { observable } from '@trpc/server/observable'
import { WebSocket } from 'ws'
import { transformer } from '../../shared/rpc/json/transformer.js'
import { serveBare } from './listening.js'
import { type BenchRouter, callsOf, routerOf, streamOf } from './router.js'
import { overLoopback, type Row } from './row.js'
import type { Service } from './service.js'

const nothingToClose = async (): Promise<void> => {}

const createCaller: Row = {
  name: 'trpc createCaller',
  does: 'the direct call of the procedure: no link, nothing is encoded',
  async open(service) {
    const { recorder } = routerOf(service).createCaller({})
    return {
      call: record => recorder.recordTokenUsage(record),
      echo: record => recorder.echo(record),
      close: nothingToClose,
    }
  },
}

const localLink: Row = {
  name: 'trpc localLink',
  does: 'createTRPCClient with unstable_localLink, in memory',
  async open(service) {
    const link = unstable_localLink({ router: routerOf(service), createContext: async () => ({}), transformer })
    const client = createTRPCClient<BenchRouter>({ links: [link] })
    return { ...callsOf(client), ...streamOf(client), close: nothingToClose }
  },
}

const emptyChain: Row = {
  name: 'trpc chain, empty link',
  does: 'createTRPCClient with one link that encodes, checks and decodes as every row does, and completes: the floor of every tRPC link',
  async open(service) {
    const client = createTRPCClient<BenchRouter>({ links: [emptyLink(service)] })
    return { ...callsOf(client), close: nothingToClose }
  },
}

function emptyLink(service: Service): TRPCLink<BenchRouter> {
  return () =>
    ({ op }) =>
      observable(observer => {
        const respond = async (): Promise<void> => {
          const record = await service.schema.parseAsync(throughJson(op.input))
          const data = throughJson(
            op.path === 'recorder.echo' ? service.echo(record) : service.recordTokenUsage(record),
          )
          observer.next({ result: { type: 'data', data }, context: op.context })
          observer.complete()
        }
        respond().catch(cause => observer.error(TRPCClientError.from(cause)))
      })
}

/** The value as a wire would deliver it. */
function throughJson(value: unknown): unknown {
  return transformer.deserialize(transformer.serialize(value))
}

const webSocketLink = overLoopback({
  name: 'trpc wsLink',
  does: 'createTRPCClient with wsLink and applyWSSHandler, over a WebSocket',
  ends: {
    serve: service => serveBare(wss => applyWSSHandler({ wss, router: routerOf(service) })),
    connect(url) {
      const wsClient = createWSClient({ url, WebSocket: WebSocket as never }) // ws's class for the browser's
      const client = createTRPCClient<BenchRouter>({ links: [wsLink({ client: wsClient, transformer })] })
      return { ...callsOf(client), ...streamOf(client), close: () => wsClient.close() }
    },
  },
})

export const trpcRows: readonly Row[] = [createCaller, localLink, emptyChain, webSocketLink]
