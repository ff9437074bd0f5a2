/**
 * Public names of `aibridge/shared`: the contract of this service (`contract/`), and what both ends of the transport
 * (`rpc/`) and of the Agent Client Protocol (`acp/`) agree on.
 */

export { type AcpReason, acpReasons } from './acp/errors.js'
export {
  type AcpClientLimits,
  type AcpClientTimes,
  type AcpServerLimits,
  type AcpServerTimes,
  acpClientLimits,
  acpClientTimes,
  acpServerLimits,
  acpServerTimes,
} from './acp/limits.js'
export type {
  AcpErrorObject,
  AcpId,
  AcpMessage,
  AcpNotification,
  AcpRequest,
  AcpResponse,
} from './acp/messages.js'
export { type AcpMethod, type AcpScope, agentMethods, clientMethods } from './acp/methods.js'
export {
  type Agent,
  agentProcessesInput,
  agentRef,
  agentsCreateInput,
  agentsRevokeInput,
  type CreatedAgent,
  type OperatorStartedProcess,
  operatorOutputInput,
  operatorSignalInput,
  operatorStartInput,
} from './contract/admin/agents.js'
export {
  type ApiKey,
  apiKeysCreateInput,
  apiKeysDeleteInput,
  apiKeysExpireInput,
  apiKeysListInput,
  type CreatedApiKey,
} from './contract/admin/api-keys.js'
export {
  type AuditAction,
  type AuditPage,
  type AuditRecord,
  auditActions,
  auditListInput,
} from './contract/admin/audit.js'
export {
  type CreatedDaemonKey,
  type DaemonKey,
  daemonKeysCreateInput,
  daemonKeysRevokeInput,
} from './contract/admin/daemon-keys.js'
export {
  type ExternalAuthLink,
  externalAuthLinksListInput,
  externalAuthLinksRemoveInput,
  externalAuthLinksSetInput,
} from './contract/admin/external-auth-links.js'
export { httpUrl } from './contract/admin/fields.js'
export {
  type ChildRecord,
  type Interception,
  type InterceptionDetail,
  type InterceptionsPage,
  interceptionsGetInput,
  interceptionsListInput,
  type ModelThought,
  type PromptUsage,
  type TokenUsage,
  type ToolUsage,
} from './contract/admin/interceptions.js'
export {
  type McpServer,
  type McpServerTest,
  type McpTestFailure,
  type McpTestTool,
  mcpServersRemoveInput,
  mcpServersTestInput,
  mcpServersUpsertInput,
  mcpTestFailures,
} from './contract/admin/mcp-servers.js'
export {
  type BackfillOutput,
  type OwnRates,
  ownRates,
  type PriceExplanation,
  type PricesList,
  pricesBackfillInput,
  pricesExplainInput,
  pricesListInput,
  pricesRemoveInput,
  pricesSetInput,
  type ShownOwnPrice,
  type ShownRate,
  type UnpricedModel,
} from './contract/admin/prices.js'
export {
  type KeyRejection,
  type ProviderFailure,
  type ProviderKeySummary,
  type ProviderSummary,
  type ProviderTest,
  type ProviderTestFailure,
  type ProviderWarning,
  providerKey,
  providersKeysAddInput,
  providersKeysOrderInput,
  providersKeysRemoveInput,
  providersRemoveInput,
  providersSetEnabledInput,
  providersTestInput,
  providersUpsertInput,
  providerTestFailures,
  providerWarnings,
} from './contract/admin/providers.js'
export type { RotationResult } from './contract/admin/secrets.js'
export {
  type UsageExportPage,
  type UsageGroup,
  type UsageKey,
  type UsageReport,
  type UsageRow,
  usageExportInput,
  usageGroups,
  usageInput,
} from './contract/admin/usage.js'
export {
  type PurgedDaemons,
  type PurgeProgress,
  type UnreachedDaemon,
  type User,
  type UserStatus,
  username,
  userStatuses,
  usersCreateInput,
  usersDeleteInput,
  usersPurgeInput,
  usersSetStatusInput,
} from './contract/admin/users.js'
export {
  type InterceptionEnd,
  type WatchEvent,
  type WatchedRecord,
  type WatchedRecords,
  watchInput,
} from './contract/admin/watch.js'
export {
  type AgentInfo,
  type CancelledProcess,
  type CancelProcess,
  cancelProcessInput,
  type ListedProcess,
  type ListProcesses,
  listProcessesInput,
  type ProcessCall,
  type ProcessHost,
  type ProcessList,
  type ProcessOutput,
  type ProcessState,
  processOutputInput,
  type ReadProcess,
  type SignalledProcess,
  type SignalProcess,
  type StartedProcess,
  type StartProcess,
  signalProcessInput,
  startProcessInput,
  type TruncatedOutput,
} from './contract/agents.js'
export { type Authorization, type IsAuthorizedInput, isAuthorizedInput } from './contract/authorizer.js'
export {
  type Chat,
  type ChatApi,
  type ChatError,
  type ChatErrorReason,
  type ChatEvent,
  type ChatList,
  type ChatMessage,
  type ChatMessages,
  type ChatPart,
  type ChatRetry,
  type ChatStatus,
  type ChatsEvent,
  type ChatUsage,
  type CreateChat,
  chatApis,
  chatErrorReasons,
  chatInput,
  chatStatuses,
  chatsArchiveInput,
  chatsCreateInput,
  chatsEditInput,
  chatsInterruptInput,
  chatsListInput,
  chatsMessagesInput,
  chatsQueuedInput,
  chatsSendInput,
  chatsWatchInput,
  type EditMessage,
  type FileReferencePart,
  type FinishReason,
  fileReferencePart,
  finishReasons,
  type MessageRole,
  messageRoles,
  type QueuedMessage,
  type ReasoningPart,
  type SendMessage,
  type SentMessage,
  type SourcePart,
  type TextPart,
  type ToolCallPart,
  type ToolResultPart,
  textPart,
  type UserPart,
  userParts,
} from './contract/chats.js'
export { finalCloseCodes, serviceCloseCodes } from './contract/close-codes.js'
export {
  type ConversationPage,
  type HiddenTurn,
  hiddenTurn,
  keepTurnInput,
  openConversationInput,
  type PinnedTool,
  type PinToolsOutput,
  pinnedTool,
  pinToolsInput,
} from './contract/conversations.js'
export {
  confirmErasuresInput,
  type Erasure,
  retireOutboxInput,
  watchErasuresInput,
} from './contract/erasures.js'
export { type ErrorReason, errorReasonOf, errorReasons, rpcError } from './contract/error-reasons.js'
export {
  adminLimits,
  type BridgeLimits,
  bridgeLimits,
  erasure,
  feedPollMs,
  mcpLimits,
  processLimits,
  recordLimits,
  retention,
} from './contract/limits.js'
export {
  type AccessTokenError,
  type AccessTokensOutput,
  accessTokenErrors,
  accessTokensInput,
  type McpServerConfig,
  type ServerConfigsOutput,
  serverConfigsInput,
} from './contract/mcp-configurator.js'
export {
  type Provider,
  type ProvidersOutput,
  type ProviderType,
  providerTypes,
  type ReportKeyInput,
  reportKeyInput,
} from './contract/provider-configurator.js'
export type { ShownProviderSettings } from './contract/provider-settings.js'
export {
  interceptionIdOf,
  isRecordKind,
  type RecordKind,
  type RecordProcedureName,
  recordKinds,
} from './contract/record-kinds.js'
export {
  type BatchRecord,
  type CheckedRecord,
  type EndAbandonedOutput,
  type EndedBy,
  type ErrorType,
  endAbandonedInput,
  endedBy,
  errorTypes,
  type InterceptionKind,
  interceptionKinds,
  type ReadyOutput,
  type RecordBatchOutput,
  type RecordedOutput,
  type RecordInput,
  type RecordOutcome,
  recordBatchInput,
  recordInterceptionEndedInput,
  recordInterceptionInput,
  recordModelThoughtInput,
  recordPromptUsageInput,
  recordSchemas,
  recordTokenUsageInput,
  recordToolUsageInput,
  userAgentKey,
} from './contract/recorder.js'
export { apiVersion } from './contract/version.js'
export { type CloseReason, closeCodes, type Duplex, type DuplexReceiver, type Message } from './rpc/duplex.js'
export {
  type CodedReason,
  type ErrorCode,
  type ErrorData,
  type ErrorFactory,
  errorCodeOf,
  errorCodes,
  errorFactory,
  isRetryable,
  type ReasonInfo,
  type ReasonTable,
  RpcError,
  reasonOf,
  type TransportReason,
  transportError,
  transportReasons,
} from './rpc/errors.js'
export { type Encoded, transformer } from './rpc/json/transformer.js'
export {
  type ConnectionLimits,
  connectionLimits,
  maxBatchMessages,
  maxBurstFactor,
  maxConnections,
  maxContainers,
  maxDepth,
  times,
  unauthenticatedShare,
} from './rpc/limits.js'
export { type MemoryDuplexOptions, memoryDuplexPair } from './rpc/links/memory-duplex.js'
export type { WebSocketDuplexOptions } from './rpc/links/websocket-settings.js'
export {
  type CallId,
  type CallMessage,
  type CallType,
  type ClientMessage,
  type ConnectionParams,
  type ConnectionParamsMessage,
  type ErrorMessage,
  InvalidMessage,
  parseClientMessage,
  parseConnectionParams,
  parseServerMessage,
  type ReconnectMessage,
  type ResultMessage,
  type ServerMessage,
  type StopMessage,
  type WireError,
} from './rpc/messages.js'
export type { Version } from './rpc/version.js'
export { type Logger, silentLogger } from './values/log.js'
export type { JsonObject, JsonValue } from './values/text.js'
