/**
 * Public names of `aibridge/client` in a browser: the same transport and the same client of the control plane, on the
 * browser's own WebSocket. The daemon needs Node.
 */

export type { CallEnd } from '../../shared/rpc/call-end.js'
export { DialError } from '../../shared/rpc/dial-error.js'
export type { BridgeClient, ClientOptions, LocalControlPlane } from '../bridge-stubs.js'
export type { BrowserDuplexOptions } from '../rpc/browser/browser-duplex.js'
export { type WebSocketDialOptions, webSocketDial } from '../rpc/browser/websocket.js'
export type { CallFailure, CallObserver, CallOptions } from '../rpc/call-observer.js'
export { createDuplexClient, type ProcedureOptions } from '../rpc/client.js'
export { type Connection, type ConnectionState, type ConnectOptions, connect } from '../rpc/connection.js'
export { duplexLink } from '../rpc/link.js'
export type { DataTransformer } from '../rpc/transformer.js'
export type { TransformerOptions } from '../rpc/trpc-internals.js'
export { type BridgeClientOptions, createBridgeClient, type RemoteControlPlane } from './bridge-client.js'
