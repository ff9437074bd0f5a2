/**
 * The questions that services may ask of a store, with the guarantees that services rely on. Every implementation
 * passes test/server/store/*.test.ts.
 *
 * - A resolved promise means: committed, and present after `kill -9` of this process.
 * - Methods reject with `INTERNAL_SERVER_ERROR` when the database cannot respond. Nothing has changed then if the error
 *   says `mayHaveRun: false`; with `true` the change may be stored, because the database fell silent before it said so.
 *   A missing row is a value (null, false, an outcome), never an error.
 * - All inputs are checked and cleaned (shared/*.ts). Times come back as Date, counts as number, absent values as null.
 * - A call waits for a restarting database, for 10 s at least. Calls that change nothing the second time are repeated
 *   meanwhile.
 */
import type { AuditRecord } from '../../shared/contract/admin/audit.js'
import type { AgentStore, ReplicaStore } from './contract/agents.js'
import type { ChatStore } from './contract/chats.js'
import type { ConversationStore } from './contract/conversations.js'
import type { DaemonInstanceStore, EndStore } from './contract/ends.js'
import type { OutboxErasureStore } from './contract/erasures.js'
import type { OwnPriceChanges, OwnPriceStore, RecordPriceStore, UnpricedStore } from './contract/prices.js'
import type {
  ErasureStore,
  FeedStore,
  InterceptionStore,
  PurgeStore,
  RecordStore,
  UsageStore,
} from './contract/records.js'
import type { ApiKeyStore, DaemonKeyStore, McpStore, ProviderStore, SecretStore, UserStore } from './contract/tables.js'

export type {
  AgentConnected,
  AgentLink,
  AgentRow,
  AgentStore,
  FoundAgent,
  Replica,
  ReplicaStore,
} from './contract/agents.js'
export type {
  ChatChange,
  ChatPatch,
  ChatRow,
  ChatSize,
  ChatStore,
  ChatSync,
  KnownMessage,
  MessageRow,
  NewChat,
  NewMessage,
  QueuedRow,
  RunningChat,
} from './contract/chats.js'
export type {
  ConversationPlace,
  ConversationStore,
  StoredConversationPage,
  StoredJson,
} from './contract/conversations.js'
export type {
  AbsentDaemon,
  DaemonInstanceStore,
  DaemonProcess,
  EndedPart,
  EndStore,
  InterceptionPosition,
  OpenInterceptionsQuery,
} from './contract/ends.js'
export type {
  DaemonOutbox,
  Erasure,
  ErasureHorizon,
  ErasureState,
  OutboxErasureStore,
  UnreachedDaemon,
} from './contract/erasures.js'
export type {
  InterceptionFacts,
  OwnPrice,
  OwnPriceChanges,
  OwnPriceStore,
  RecordCost,
  RecordPriceStore,
  UnpricedModelRow,
  UnpricedRecord,
  UnpricedStore,
} from './contract/prices.js'
export type {
  Carrier,
  Erased,
  ErasureStore,
  FeedPage,
  FeedStore,
  InterceptionQuery,
  InterceptionStore,
  NormalRecord,
  NormalRecords,
  PurgeStore,
  RecordStore,
  StoredRecord,
  UsageQuery,
  UsageStore,
} from './contract/records.js'
export type {
  ApiKeyKind,
  ApiKeyStore,
  AuthLinkRow,
  DaemonKeyStore,
  FoundApiKey,
  KeyRejectionRow,
  McpServerRow,
  McpStore,
  ProviderRow,
  ProviderStore,
  SealedKey,
  SecretColumn,
  SecretStore,
  StoredSecret,
  UserStore,
} from './contract/tables.js'

/**
 * A database with everything that the control plane keeps. {@link openStore} opens one; the guarantees stand at the
 * top of this file.
 */
export interface Store extends Tables, AuditedWrites, ChangeStore, Pick<ChatStore, 'onChatChange'> {
  /**
   * Resolves when the database has committed a write and its disk has room: one that can only read, or whose disk is
   * full, rejects.
   */
  ping(): Promise<void>
  /** Resolves when every call that is under way now has ended, by success or by failure. */
  settle(): Promise<void>
  /** Ends open work, for 10 s at most, then closes the database. A second call returns the same promise. */
  close(): Promise<void>
}

/** The reads and writes of a store. */
export interface Tables extends RecordStore, TransactionTables {}

/** The reads and writes of a store that are also available within a transaction. */
export interface TransactionTables
  extends InterceptionStore,
    OwnPriceStore,
    OwnPriceChanges,
    RecordPriceStore,
    UnpricedStore,
    UsageStore,
    ErasureStore,
    PurgeStore,
    FeedStore,
    UserStore,
    ApiKeyStore,
    DaemonKeyStore,
    AgentStore,
    ReplicaStore,
    DaemonInstanceStore,
    EndStore,
    OutboxErasureStore,
    ProviderStore,
    McpStore,
    ConversationStore,
    Omit<ChatStore, 'onChatChange'>,
    SecretStore,
    AuditStore,
    ShortIdStore {}

/** Writes that leave a trace in the audit log. */
export interface AuditedWrites {
  /**
   * Runs a write and adds the audit entry that `entryOf` makes of its result, both in one transaction: neither is
   * stored without the other. A null entry, for a write that changed nothing, is left out.
   */
  audited<T>(work: (tables: TransactionTables) => Promise<T>, entryOf: (result: T) => AuditEntry | null): Promise<T>
}

/**
 * The actor, the action and the target of an operator's write. `details` never holds a secret. With an `id`, a repeat
 * adds no second entry.
 */
export type AuditEntry = Pick<AuditRecord, 'actor' | 'action' | 'target' | 'details'> & { id?: string }

/** An audit entry as stored: without the name of the user in question. */
export type AuditRow = Omit<AuditRecord, 'username'>

/** The audit log, read. */
export interface AuditStore {
  /** Returns the newest entries first, by time and then id. The page begins behind the position `before`. */
  listAudit(query: {
    limit: number
    before?: { at: Date; id: string } | undefined
    actor?: string | undefined
    action?: string | undefined
    target?: string | undefined
  }): Promise<AuditRow[]>
}

/** A place where rows are looked for by the short form of an id (shared/values/short-id.ts). */
export type ShortIdPlace = 'users' | 'interceptions' | 'auditTargets'

/** Looking for rows by the short form of an id. */
export interface ShortIdStore {
  /**
   * The ids with a short form, sorted, at most `limit`. Of `auditTargets`, a target that is this text itself is one of
   * them.
   */
  findByShortId(query: { place: ShortIdPlace; shortId: string; limit: number }): Promise<string[]>
}

/** Notices of changes, whichever process made them. */
export interface ChangeStore {
  /**
   * Calls `listener` after each commit that changed the topic, by any process, once for several commits that come
   * together. Calls `listener` too whenever a change may have been missed: soon after a lost connection to the database
   * is back. Returns the function that ends the calls.
   */
  onChange(
    topic:
      | 'providers'
      | 'prices'
      | 'daemon_keys'
      | 'user_keys'
      | 'agents'
      | 'records'
      | 'erasures'
      | 'erasure_confirmations',
    listener: () => void,
  ): () => void
}
