/** The tables as kysely sees the schema. The SQL stands in migrations/, with the reasons. */
import type { ColumnType, Generated, GeneratedAlways } from 'kysely'
import type { UserStatus } from '../../../shared/contract/admin/users.js'
import type { ChatApi, ChatStatus, FinishReason, MessageRole } from '../../../shared/contract/chats.js'
import type { ProviderType } from '../../../shared/contract/provider-configurator.js'
import type { RecordKind } from '../../../shared/contract/record-kinds.js'
import type { EndedBy, ErrorType } from '../../../shared/contract/recorder.js'
import type { JsonObject } from '../../../shared/values/text.js'
import type { ApiKeyKind } from '../contract/tables.js'

/** Table → row. The record tables are written by record-tables.ts only. */
export interface Database {
  users: UsersTable
  api_keys: ApiKeysTable
  daemon_keys: DaemonKeysTable
  agents: AgentsTable
  replicas: ReplicasTable
  daemon_instances: DaemonInstancesTable
  daemon_outboxes: DaemonOutboxesTable
  erasures: ErasuresTable
  erasure_confirmations: ErasureConfirmationsTable
  interceptions: InterceptionsTable
  token_usages: TokenUsagesTable
  user_prompts: UserPromptsTable
  tool_usages: ToolUsagesTable
  model_thoughts: ModelThoughtsTable
  providers: ProvidersTable
  provider_keys: ProviderKeysTable
  prices: PricesTable
  own_prices: OwnPricesTable
  key_rejections: KeyRejectionsTable
  server_state: ServerStateTable
  record_feed: RecordFeedTable
  record_feed_trimmed: { only_row: GeneratedAlways<boolean>; position: number }
  mcp_servers: McpServersTable
  external_auth_links: ExternalAuthLinksTable
  conversation_tools: ConversationToolsTable
  conversations: ConversationsTable
  conversation_turns: ConversationTurnsTable
  chats: ChatsTable
  chat_messages: ChatMessagesTable
  chat_queue: ChatQueueTable
  chat_dequeued: ChatDequeuedTable
  audit_log: AuditLogTable
}

interface UsersTable {
  id: string
  username: string
  status: Generated<UserStatus>
  is_system: boolean
  created_at: Generated<Date>
  deleted_at: Generated<Date | null>
}

interface ApiKeysTable {
  id: string
  user_id: string
  secret_hash: Uint8Array
  created_at: Generated<Date>
  expires_at: Date | null
  name: string | null
  last_used_at: Generated<Date | null>
  kind: Generated<ApiKeyKind>
}

interface DaemonKeysTable {
  id: string
  name: string | null
  secret_hash: Uint8Array
  delegate: boolean
  created_at: Generated<Date>
  expires_at: Date | null
  revoked_at: Generated<Date | null>
  last_seen_at: Generated<Date | null>
  build_version: Generated<string | null>
}

interface AgentsTable {
  id: string
  key_id: string
  secret_hash: Uint8Array
  name: string
  owner_id: string
  created_at: Generated<Date>
  expires_at: Date | null
  revoked_at: Generated<Date | null>
  last_seen_at: Generated<Date | null>
  instance: Generated<string | null>
  build_version: Generated<string | null>
  replica: Generated<string | null>
  epoch: Generated<number>
}

interface ReplicasTable {
  id: string
  advertise_url: string | null
  seen_at: Date
}

interface DaemonInstancesTable {
  instance: string
  daemon_key_id: string | null
  connected_to: string | null
  last_seen_at: Date
  declared_gone_at: Date | null
  settled_at: Date | null
}

interface DaemonOutboxesTable {
  id: string
  daemon_key_id: string | null
  is_durable: boolean
  is_empty: Generated<boolean>
  watched_by: string | null
  last_seen_at: Date
}

interface ErasuresTable {
  id: string
  user_id: string
  begun_at: Date
  finished_at: Date | null
}

interface ErasureConfirmationsTable {
  erasure_id: string
  outbox_id: string
  records: number
}

interface InterceptionsTable {
  id: string
  initiator_id: string
  api_key_id: string
  provider: string
  provider_name: string
  model: string
  started_at: Date
  client: string | null
  client_session_id: string | null
  correlating_tool_call_id: string | null
  previous_msg_id: string | null
  conversation_id: string | null
  /** null: model */
  interception_kind: 'mcp' | null
  credential_kind: 'centralized' | 'byok'
  credential_hint: string | null
  metadata: JsonObject | null
  ended_at: Date | null
  error_type: ErrorType | null
  error_message: string | null
  ended_by: EndedBy | null
  linked_id: string | null
  parent_id: string | null
  root_id: string | null
  daemon_key_id: string | null
  daemon_instance: string | null
  content_hash: Uint8Array
}

interface ChildTable {
  id: string
  interception_id: string
  metadata: JsonObject | null
  created_at: Date
  content_hash: Uint8Array
}
interface TokenUsagesTable extends ChildTable {
  /** null in rows of older versions */
  initiator_id: string | null
  msg_id: string
  model: string | null
  input_tokens: number
  output_tokens: number
  cache_read_input_tokens: number
  cache_write_input_tokens: number
  /** null in rows without a cost */
  price_id: Generated<string | null>
  /** int8; a bigint where it is read as one */
  cost_nanos: Generated<number | null>
  cost_estimated: Generated<boolean | null>
}
interface UserPromptsTable extends ChildTable {
  /** null in rows of older versions */
  initiator_id: string | null
  msg_id: string
  prompt: string
}
interface ToolUsagesTable extends ChildTable {
  initiator_id: string
  msg_id: string
  tool_call_id: string | null
  item_id: string | null
  server_url: string | null
  tool: string
  input: string
  injected: boolean
  invocation_error: string | null
}
interface ModelThoughtsTable extends ChildTable {
  content: string
}

interface ProvidersTable {
  name: string
  type: ProviderType
  enabled: boolean
  base_url: string
  /** written as JSON text */
  settings: JsonColumn
  created_at: Generated<Date>
  updated_at: Generated<Date>
}
type JsonColumn = ColumnType<JsonObject | null, string | null, string | null>

interface ProviderKeysTable {
  provider_name: string
  position: number
  id: string
  sealed: Uint8Array
  hint: string
}

interface PricesTable {
  id: string
  /** written as JSON text */
  price: JsonColumn
  created_at: Generated<Date>
}

interface OwnPricesTable {
  provider: string
  model: string
  /** written as JSON text */
  definition: JsonColumn
  updated_at: Generated<Date>
}

interface KeyRejectionsTable {
  provider_name: string
  key_id: string
  revision: Date
  status: number
  model: string | null
  reported_by: string
  at: Generated<Date>
}

interface ServerStateTable {
  key: string
  set_at: ColumnType<Date, never, Date>
}

interface RecordFeedTable {
  position: GeneratedAlways<number>
  kind: RecordKind
  id: string
  noted_at: Generated<Date>
}

interface McpServersTable {
  id: string
  url: string
  tool_allow_regex: string | null
  tool_deny_regex: string | null
  inject: Generated<boolean>
  token_url: string | null
  client_id: string | null
  client_secret: Uint8Array | null
  validate_url: string | null
  created_at: Generated<Date>
  updated_at: Generated<Date>
}

interface ExternalAuthLinksTable {
  user_id: string
  server_id: string
  access_token: Uint8Array
  refresh_token: Uint8Array | null
  expires_at: Date | null
  refresh_lease: Generated<string | null>
  refresh_lease_until: Generated<Date | null>
  created_at: Generated<Date>
  updated_at: Generated<Date>
}

interface ConversationToolsTable {
  user_id: string
  content_hash: Uint8Array
  /** JSON text */
  tools: string
  bytes: number
  containers: number
  last_pinned_at: Date
}

interface ConversationsTable {
  user_id: string
  key: Uint8Array
  tools_hash: Uint8Array | null
  turns: Generated<number>
  bytes: Generated<number>
  last_used_at: Date
}

interface ConversationTurnsTable {
  user_id: string
  key: Uint8Array
  number: number
  id: string
  content_hash: Uint8Array
  /** JSON text */
  turn: string
  bytes: number
  containers: number
  created_at: Date
}

interface ChatsTable {
  id: string
  owner_id: string
  agent_id: string | null
  provider: string
  model: string
  api: ChatApi
  title: string | null
  system: string | null
  cwd: string | null
  content_hash: Uint8Array
  status: Generated<ChatStatus>
  archived: Generated<boolean>
  version: Generated<number>
  history_version: Generated<number>
  queue_version: Generated<number>
  last_seq: Generated<number>
  messages: Generated<number>
  bytes: Generated<number>
  attempt: Generated<number>
  /** written as JSON text */
  retry: JsonColumn
  /** written as JSON text */
  last_error: JsonColumn
  agent_instance: Generated<string | null>
  runner: Generated<string | null>
  fence: Generated<number>
  lease_until: Generated<Date | null>
  created_at: Generated<Date>
  updated_at: Generated<Date>
}

interface ChatMessagesTable {
  chat_id: string
  seq: number
  id: string
  role: MessageRole
  /** JSON text */
  parts: string
  format: Generated<number>
  content_hash: Uint8Array
  /** written as JSON text */
  usage: JsonColumn
  interception_id: string | null
  finish_reason: FinishReason | null
  interrupted: boolean
  version: number
  deleted: Generated<boolean>
  created_at: Generated<Date>
}

interface ChatQueueTable {
  chat_id: string
  position: number
  id: string
  /** JSON text */
  parts: string
  content_hash: Uint8Array
  created_at: Generated<Date>
}

interface ChatDequeuedTable {
  chat_id: string
  id: string
  content_hash: Uint8Array
}

interface AuditLogTable {
  id: string
  at: Generated<Date>
  actor: string
  action: string
  target: string | null
  /** written as JSON text */
  details: JsonColumn
}
