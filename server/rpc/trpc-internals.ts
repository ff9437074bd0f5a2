/**
 * What the transport needs of tRPC's server beyond routers and procedures. Everything comes from public entry points; what is called
 * without tRPC's own wrapper stands in invoke.ts beside its fallback.
 */
export {
  type AnyTRPCProcedure as AnyProcedure,
  type AnyTRPCRouter as AnyRouter,
  callTRPCProcedure,
  getErrorShape,
  getTRPCErrorFromUnknown,
  type inferRouterContext,
  isTrackedEnvelope,
  TRPCError,
} from '@trpc/server'
export { isObservable, type Observable, type Unsubscribable } from '@trpc/server/observable'
