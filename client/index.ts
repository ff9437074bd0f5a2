/**
 * Public names of `aibridge/client`: the daemon and its client, and the transport under `rpc/`, which calls any tRPC
 * router.
 */

export { type NdjsonOptions, ndjsonDuplex } from '../shared/acp/ndjson-duplex.js'
export type { CallEnd } from '../shared/rpc/call-end.js'
export { DialError } from '../shared/rpc/dial-error.js'
export { type DrainSource, ParkedDial, type ParkedDialOptions } from '../shared/rpc/links/parked-dial.js'
export { type AcpClient, createAcpClient } from './acp/acp-client.js'
export type { AcpClientOptions, AcpTls } from './acp/options.js'
export { createProcessHost, type LocalProcessHost } from './agent/process-host.js'
export type { ProcessTableLimits, ProcessTableOptions } from './agent/process-table.js'
export { connectAgent } from './agent-connection.js'
export { type AgentDialOptions, agentDial } from './agent-dial.js'
export type { ControlPlane, ControlPlaneCallOptions, RecordProcedure } from './bridge/control-plane/control-plane.js'
export { type BridgeDaemon, type BridgeDaemonOptions, createBridgeDaemon } from './bridge/daemon.js'
export type { InProcessCaller } from './bridge/front-door/credentials.js'
export { type BridgeFetchOptions, createBridgeFetch } from './bridge/in-process/fetch.js'
export type {
  BridgeMetrics,
  FailoverCause,
  InterceptionEnd,
  McpCallEnd,
  McpRequestEnd,
  PassedThrough,
  WatchedUpstreams,
} from './bridge/metrics/metrics.js'
export { createBridgeMetrics, type PrometheusBridgeMetrics } from './bridge/metrics/prometheus.js'
export type { FsyncMode } from './bridge/outbox/journal/journal.js'
export { type JournalOutboxOptions, openJournalOutbox } from './bridge/outbox/journal-outbox.js'
export type { Outbox, OutboxRest, SendRecords } from './bridge/outbox/outbox.js'
export { createRecordSender } from './bridge/outbox/record-sender.js'
export { type RejectionReason, rejectionReasons } from './bridge/wire/rejection.js'
export {
  type BridgeClient,
  type BridgeClientOptions,
  type ClientOptions,
  createBridgeClient,
  type LocalControlPlane,
  type RemoteControlPlane,
} from './bridge-client.js'
export { createChatModels } from './chats/chat-models.js'
export { connectPeer, type PeerConnectionOptions } from './peer-connection.js'
export type { CallFailure, CallObserver, CallOptions } from './rpc/call-observer.js'
export { createDuplexClient, type ProcedureOptions } from './rpc/client.js'
export {
  type Connection,
  type ConnectionState,
  type ConnectOptions,
  connect,
} from './rpc/connection.js'
export { duplexLink } from './rpc/link.js'
export type { DataTransformer } from './rpc/transformer.js'
export type { TransformerOptions } from './rpc/trpc-internals.js'
export { type WebSocketDialOptions, webSocketDial } from './rpc/websocket.js'
