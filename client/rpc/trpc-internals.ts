/** What the transport needs of tRPC's client beyond clients and links, from public entry points. */
export {
  createTRPCUntypedClient,
  type TRPCClient,
  TRPCClientError,
  type TRPCLink,
} from '@trpc/client'
export type { AnyTRPCRouter as AnyRouter } from '@trpc/server'
export { observable } from '@trpc/server/observable'
