/** Public names of `aibridge/server`. The first group serves any tRPC router or ACP agent, the second this service. */

export type { CallEnd } from '../shared/rpc/call-end.js'
export type {
  AcpAgentInfo,
  AcpCredentials,
  AcpEndReason,
  AcpIdentity,
  AcpObserver,
  AcpTransport,
  ServeAcpOptions,
} from './acp/options.js'
export { type AcpListener, serveAcp } from './acp/serve-acp.js'
export type { AgentConnection, ConnectAgent } from './control-plane/agent-links.js'
export type { ConnectPeer, PeerConnection, PeerDial } from './control-plane/peers/peer-links.js'
export {
  type BridgeServer,
  type BridgeServerOptions,
  createBridgeServer,
  type ListenOptions,
  type RunningChats,
} from './control-plane/server.js'
export type { BridgeServerConfig } from './control-plane/server-config.js'
export type { MountedBridge } from './http/http-routes.js'
export type { ChatCount, ServerMetrics } from './metrics/metrics.js'
export { createServerMetrics } from './metrics/prometheus.js'
export { ensureSecrets, type SecretSources, type ServerSecrets } from './process/secrets.js'
export { type AppRouter, appRouter } from './routers/app.js'
export type { ErrorShapeData } from './routers/error-format.js'
export { type ProcessContext, type ProcessRouter, processRouter } from './routers/process.js'
export { lastEventIdOf } from './rpc/call.js'
export { type ServeDuplexOptions, type ServerConnection, serveDuplex } from './rpc/connection.js'
export { type CloseResult, ConnectionGroup, type GroupMember, type MemberObserver } from './rpc/connection-group.js'
export type { ConnectionInfo, ContextRequirement } from './rpc/context-handshake.js'
export { groupDuplex } from './rpc/grouped-duplex.js'
export type { ErrorReport } from './rpc/responses.js'
export { type DialledService, type DialledServiceState, type ServeDialOptions, serveDial } from './rpc/serve-dial.js'
export type {
  Credentials,
  DuplexInfo,
  ReversedWebSocketsOptions,
  ServeWebSocketsOptions,
  WebSocketInfo,
  WebSocketListener,
  WebSocketListenerOptions,
} from './rpc/upgrade/listener-options.js'
export { serveWebSockets } from './rpc/upgrade/websocket-listener.js'
export type { ProviderSeed } from './services/admin/providers/provider-seeds.js'
export type { KeyRotation, RotateKeys } from './services/admin/secret-rotation.js'
export type { Episode, EpisodeEvent } from './services/chats/live-parts.js'
export type {
  ChatModels,
  ChatTool,
  HistoryMessage,
  LivePart,
  ModelCall,
  ModelRequest,
  ModelResponse,
  StoredPart,
} from './services/chats/model.js'
export type { AdminIdentity, DaemonIdentity, Identity, UserIdentity } from './services/identity.js'
export {
  type EmbeddedStoreOptions,
  type OpenStoreOptions,
  openStore,
  type PostgresStoreOptions,
} from './store/open/open-store.js'
export type {
  AbsentDaemon,
  AgentConnected,
  AgentLink,
  AgentRow,
  AgentStore,
  ApiKeyKind,
  ApiKeyStore,
  AuditEntry,
  AuditedWrites,
  AuditRow,
  AuditStore,
  AuthLinkRow,
  Carrier,
  ChangeStore,
  ChatChange,
  ChatPatch,
  ChatRow,
  ChatSize,
  ChatStore,
  ChatSync,
  ConversationPlace,
  ConversationStore,
  DaemonInstanceStore,
  DaemonKeyStore,
  DaemonOutbox,
  DaemonProcess,
  EndedPart,
  EndStore,
  Erased,
  Erasure,
  ErasureHorizon,
  ErasureState,
  ErasureStore,
  FeedPage,
  FeedStore,
  FoundAgent,
  FoundApiKey,
  InterceptionFacts,
  InterceptionPosition,
  InterceptionQuery,
  InterceptionStore,
  KeyRejectionRow,
  KnownMessage,
  McpServerRow,
  McpStore,
  MessageRow,
  NewChat,
  NewMessage,
  NormalRecord,
  NormalRecords,
  OpenInterceptionsQuery,
  OutboxErasureStore,
  OwnPrice,
  OwnPriceChanges,
  OwnPriceStore,
  ProviderRow,
  ProviderStore,
  PurgeStore,
  QueuedRow,
  RecordCost,
  RecordPriceStore,
  RecordStore,
  Replica,
  ReplicaStore,
  RunningChat,
  SealedKey,
  SecretColumn,
  SecretStore,
  ShortIdPlace,
  ShortIdStore,
  Store,
  StoredConversationPage,
  StoredJson,
  StoredRecord,
  StoredSecret,
  Tables,
  TransactionTables,
  UnpricedModelRow,
  UnpricedRecord,
  UnpricedStore,
  UnreachedDaemon,
  UsageQuery,
  UsageStore,
  UserStore,
} from './store/store.js'
