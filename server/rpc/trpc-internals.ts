/**
 * The parts of tRPC's server that the transport needs beyond routers and procedures. All come from public entry points;
 * calls without tRPC's own wrapper stand in invoke.ts beside their fallback.
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
