/** The parts of tRPC's client that the transport needs beyond clients and links, from public entry points. */
import type { WebSocketLinkOptions } from '@trpc/client'
import type { AnyTRPCRouter } from '@trpc/server'

export {
  createTRPCUntypedClient,
  type TRPCClient,
  TRPCClientError,
  type TRPCLink,
} from '@trpc/client'
export type { AnyTRPCRouter as AnyRouter } from '@trpc/server'
export { observable } from '@trpc/server/observable'

/**
 * `{ transformer }` for a router with a transformer, else nothing; tRPC exports this type only as a part of the options
 * of links.
 */
export type TransformerOptions<R extends AnyTRPCRouter> = Omit<WebSocketLinkOptions<R>, 'client'>
