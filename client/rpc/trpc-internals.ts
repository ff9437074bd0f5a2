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

/** `{ transformer }` for a router that has one, else nothing; tRPC exports this only as a part of its links' options. */
export type TransformerOptions<R extends AnyTRPCRouter> = Omit<WebSocketLinkOptions<R>, 'client'>
