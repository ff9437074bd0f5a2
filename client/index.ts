/** Public names of `aibridge/client`. The first group serves any tRPC router, the second this service. */

export { createBridgeDaemon } from './bridge/daemon.js'
export { type BridgeClient, type BridgeClientOptions, createBridgeClient } from './bridge-client.js'
export { createDuplexClient, type ProcedureOptions } from './rpc/client.js'
export {
  type CallObserver,
  type CallOptions,
  type Connection,
  type ConnectionState,
  type ConnectOptions,
  connect,
} from './rpc/connection.js'
export { DialError } from './rpc/errors.js'
export { duplexLink } from './rpc/link.js'
export type { DataTransformer } from './rpc/transformer.js'
