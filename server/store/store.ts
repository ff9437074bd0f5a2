/**
 * The questions that services may ask of a store, with the guarantees that services rely on. Every implementation
 * passes test/server/store/*.test.ts.
 *
 * - A resolved promise means: committed, and present after `kill -9` of this process.
 * - A rejected promise means that nothing changed. Methods reject with `INTERNAL_SERVER_ERROR` when the database cannot
 *   respond; a missing row is a value (null, false, an outcome), never an error.
 * - All inputs are checked and cleaned (shared/*.ts). Times come back as Date, counts as number, absent values as null.
 * - A call waits for a restarting database, for 10 s at least. Calls that change nothing the second time are repeated
 *   meanwhile.
 */
import type { ApiKey } from '../../shared/contract/admin/api-keys.js'
import type { AuditRecord } from '../../shared/contract/admin/audit.js'
import type { DaemonKey } from '../../shared/contract/admin/daemon-keys.js'
import type { ExternalAuthLink } from '../../shared/contract/admin/external-auth-links.js'
import type { Interception, InterceptionDetail } from '../../shared/contract/admin/interceptions.js'
import type { McpServer } from '../../shared/contract/admin/mcp-servers.js'
import type { ProviderFailure } from '../../shared/contract/admin/providers.js'
import type { UsageGroup, UsageRow } from '../../shared/contract/admin/usage.js'
import type { User, UserStatus } from '../../shared/contract/admin/users.js'
import type { WatchedRecord } from '../../shared/contract/admin/watch.js'
import type { ProviderType } from '../../shared/contract/provider-configurator.js'
import type { RecordKind } from '../../shared/contract/record-kinds.js'
import type { CheckedRecord, RecordOutcome } from '../../shared/contract/recorder.js'
import type { JsonObject } from '../../shared/values/text.js'

/**
 * A database with everything that the control plane keeps. {@link openStore} opens one; the guarantees stand at the
 * top of this file.
 */
export interface Store extends Tables, AuditedWrites, ChangeStore {
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

/** The reads and writes of a store, also available within a transaction. */
export interface Tables
  extends RecordStore,
    InterceptionStore,
    UsageStore,
    ErasureStore,
    PurgeStore,
    FeedStore,
    UserStore,
    ApiKeyStore,
    DaemonKeyStore,
    ProviderStore,
    McpStore,
    SecretStore,
    AuditStore,
    ShortIdStore {}

/** Writes that leave a trace in the audit log. */
export interface AuditedWrites {
  /**
   * Runs a write and adds the audit entry that `entryOf` makes of its result, both in one transaction: neither is
   * stored without the other. A null entry, for a write that changed nothing, is left out.
   */
  audited<T>(work: (tables: Tables) => Promise<T>, entryOf: (result: T) => AuditEntry | null): Promise<T>
}

/** The actor, the action and the target of an operator's write. `details` never holds a secret. */
export type AuditEntry = Pick<AuditRecord, 'actor' | 'action' | 'target' | 'details'>

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
  onChange(topic: 'providers' | 'daemon_keys' | 'records', listener: () => void): () => void
}

/** The feed: every stored record in the order of the commits. */
export interface FeedStore {
  /** Returns the position of the record that was committed last; 0 for an empty feed. */
  feedEnd(): Promise<number>
  /**
   * Returns the records committed behind a position, in commit order, at most `limit`, without erased records. `end` is
   * the position of the next read; `isWhole` says that no further record was committed. `known: false` says that
   * records behind the position have been erased from the feed.
   */
  readFeed(query: { after: number; limit: number }): Promise<FeedPage>
}

/** A page of the feed, as {@link FeedStore.readFeed} returns it. */
export interface FeedPage {
  known: boolean
  events: { position: number; record: WatchedRecord }[]
  end: number
  isWhole: boolean
}

/**
 * Kind → a checked record in its one normal form: an interception has a provider name, and its user agent stands in the
 * metadata (`userAgentKey`).
 */
export type NormalRecords = {
  [K in RecordKind]: K extends 'interception'
    ? Omit<CheckedRecord<'interception'>, 'userAgent' | 'providerName'> & { providerName: string }
    : CheckedRecord<K>
}

/** A checked record in its one normal form. */
export type NormalRecord<K extends RecordKind = RecordKind> = NormalRecords[K]

/**
 * A normalised record and the SHA-256 of its content, which decides whether a repeat is the same. `carrier` is no part
 * of the content: the first that brought an interception stays.
 */
export type StoredRecord<K extends RecordKind = RecordKind> = {
  [P in K]: { kind: P; record: NormalRecords[P]; contentHash: Uint8Array } & (P extends 'interception'
    ? { carrier?: Carrier | undefined }
    : unknown)
}[K]

/** The daemon that carried a request, as its connection says. */
export interface Carrier {
  /** of a remote daemon */
  daemonKeyId?: string | undefined
  /** a UUID of the daemon's process */
  daemonInstance?: string | undefined
}

/** Storing the records that daemons report. */
export interface RecordStore {
  /**
   * Stores records in one transaction, in order; a rejected record does not stop the others. Returns one outcome per
   * record:
   * - same id and kind, same hash: ok, nothing changes; other hash: `CONFLICT`
   * - a child or an end whose interception neither is stored nor stands earlier in `records`: `NOT_FOUND`
   * - an end: the first end wins, a later end is ok and changes nothing; its hint is applied to `centralized` rows only
   *
   * Lineage: the parent of an interception with a `correlatingToolCallId` is the interception of the newest tool usage
   * (by `createdAt`, then id) of the same initiator with that `toolCallId`, other than the interception's own; without
   * one, that of the newest usage with its `previousMsgId`, or the one before it in its `conversationId`. The root is
   * the parent's root or else the parent. Both are the same whichever record is stored first, also by concurrent calls.
   * Where links form a cycle, the link of the cycle's oldest interception (by `startedAt`, then id) is left out.
   */
  record(records: readonly StoredRecord[]): Promise<RecordOutcome[]>
}

/** Reading interceptions. */
export interface InterceptionStore {
  /**
   * Returns the newest interceptions first, by `startedAt` and then id. The page begins behind the position `before`.
   */
  listInterceptions(query: InterceptionQuery): Promise<Interception[]>
  getInterception(id: string): Promise<InterceptionDetail | null>
}

/** Filters of a list of interceptions, all of which must hold; `limit` is a number of rows. */
export interface InterceptionQuery {
  limit: number
  before?: { startedAt: Date; id: string } | undefined
  initiatorId?: string | undefined
  /** matches the type or the configured name */
  provider?: string | undefined
  model?: string | undefined
  client?: string | undefined
  clientSessionId?: string | undefined
  errorType?: string | undefined
  /** leaves out the requests that clients make for themselves (`internalRequestKinds`) */
  excludeInternal?: boolean | undefined
  /** `from` ≤ startedAt < `to` */
  from?: Date | undefined
  to?: Date | undefined
}

/** Reading totals. */
export interface UsageStore {
  /**
   * Returns interceptions and tokens by the groups in `by`, from one snapshot; one row without groups. An interception
   * counts once, for any number of token usages. Rows are sorted by day, newest first, then all tokens together, most
   * first, then interceptions, then the groups.
   */
  readUsage(query: UsageQuery): Promise<UsageRow[]>
}

/** The groups and filters of totals; `limit` is a number of rows. */
export interface UsageQuery
  extends Pick<InterceptionQuery, 'limit' | 'initiatorId' | 'provider' | 'model' | 'from' | 'to'> {
  by: readonly UsageGroup[]
}

/** Counts of erased rows: interceptions, and the records that belonged to interceptions. */
export interface Erased {
  interceptions: number
  records: number
}

/**
 * Erases in batches of at most `limit` rows, the oldest first, each batch in one transaction. An interception under a
 * writer's lock is left for a later batch, so no batch waits for a recorder. A late child is `NOT_FOUND`; the id of an
 * erased interception stays in the `parentId` of its continuations.
 */
export interface ErasureStore {
  /**
   * Erases interceptions that started before `startedBefore` and have ended, or started before `unendedBefore`. Returns
   * null while another process erases. One process erases at a time, and a dead process blocks no other.
   */
  eraseOldInterceptions(query: { startedBefore: Date; unendedBefore: Date; limit: number }): Promise<Erased | null>
  /** Erases interceptions of one user. */
  eraseInterceptionsOf(query: { initiatorId: string; limit: number }): Promise<Erased>
  /**
   * Erases rows of the feed that were noted before a time, from the feed's begin, and returns the number of rows.
   * {@link FeedStore.readFeed} reports the gap from then on. Returns null as above.
   */
  trimFeed(query: { notedBefore: Date; limit: number }): Promise<number | null>
}

/** Erasing one user: {@link ErasureStore} erases the interceptions, this the rest. */
export interface PurgeStore {
  /**
   * Returns whether the store holds anything of a user: the user, keys, links or interceptions. The audit log does not
   * count.
   */
  holdsUser(id: string): Promise<boolean>
  /** Marks the user as deleted and lets unexpired API keys expire at `at`. Returns whether anything changed. */
  rejectUser(id: string, at: Date): Promise<boolean>
  /**
   * Deletes the user's API keys and links, and the user, and replaces the user's name by the id in audit entries.
   * Returns null, without a change, while an interception of the user is stored.
   */
  eraseUser(id: string): Promise<{ apiKeys: number; links: number } | null>
}

/** Users, by id or by name. */
export interface UserStore {
  /** Returns null if a user that is not deleted has this name. */
  createUser(user: { id: string; username: string; isSystem?: boolean }): Promise<User | null>
  /** Finds a user by id, or by the name of a user that is not deleted. */
  findUser(idOrUsername: string): Promise<User | null>
  /** Returns id → name for the stored users among the ids, deleted users included. */
  findUsernames(ids: readonly string[]): Promise<Map<string, string>>
  /** Returns all users, deleted users included, sorted by name, then creation. */
  listUsers(): Promise<User[]>
  setUserStatus(id: string, status: UserStatus): Promise<User | null>
  /** Marks the user as deleted, once; the records stay. */
  deleteUser(id: string): Promise<User | null>
}

/** API keys: of a secret only the hash is stored. */
export interface ApiKeyStore {
  /** Returns null if the id is taken. `username` is null for an unknown user. */
  createApiKey(key: {
    id: string
    userId: string
    name?: string | null
    secretHash: Uint8Array
    expiresAt: Date | null
  }): Promise<ApiKey | null>
  /** The key and its owner, read in one snapshot. */
  findApiKey(id: string): Promise<FoundApiKey | null>
  /** Sorted by creation, then id. */
  listApiKeys(filter: { userId?: string | undefined }): Promise<ApiKey[]>
  /** Sets `expiresAt` to `at` unless it is already earlier. */
  expireApiKey(id: string, at: Date): Promise<ApiKey | null>
  deleteApiKey(id: string): Promise<boolean>
  /**
   * Sets `lastUsedAt` to `at` where the stored time is earlier. Keys under another transaction's lock are left out, so
   * the call never waits.
   */
  recordKeysUsed(ids: readonly string[], at: Date): Promise<void>
}

/** The facts that an API key is checked by; `owner` is null for an unknown user. */
export interface FoundApiKey extends Pick<ApiKey, 'id' | 'expiresAt' | 'lastUsedAt'> {
  secretHash: Uint8Array
  owner: User | null
}

/** Keys of remote daemons: of a secret only the hash is stored. */
export interface DaemonKeyStore {
  /** Returns null if the id is taken. */
  createDaemonKey(
    key: Pick<DaemonKey, 'id' | 'name' | 'delegate' | 'expiresAt'> & { secretHash: Uint8Array },
  ): Promise<DaemonKey | null>
  findDaemonKey(id: string): Promise<(DaemonKey & { secretHash: Uint8Array }) | null>
  /** Newest first, then by id. */
  listDaemonKeys(): Promise<DaemonKey[]>
  /** Sets `revokedAt` to `at`, once. */
  revokeDaemonKey(id: string, at: Date): Promise<DaemonKey | null>
  /** Changes nothing for an unknown key, or for a key that was seen later. */
  recordDaemonSeen(id: string, seen: { at: Date; buildVersion: string | null }): Promise<void>
  /** Records several keys as seen, like {@link recordDaemonSeen} without the daemons' own description. */
  recordDaemonsConnected(ids: readonly string[], at: Date): Promise<void>
  /** Returns the ids among `ids` whose keys are revoked, have expired at `at`, or are not stored. */
  findInvalidDaemonKeys(ids: readonly string[], at: Date): Promise<string[]>
}

/** A provider as stored: each key is sealed and has a hint that may be shown. */
export interface ProviderRow {
  name: string
  type: ProviderType
  enabled: boolean
  /** absolute, or a path that is relative to this server's own address (the provider `demo`) */
  baseUrl: string
  settings: JsonObject | null
  keys: SealedKey[]
  createdAt: Date
  updatedAt: Date
}

/** A key of a provider: sealed, with an id that is part of the seal and a hint that may be shown. */
export interface SealedKey {
  id: string
  sealed: Uint8Array
  hint: string
}

/** Providers and their sealed keys. */
export interface ProviderStore {
  /** One consistent snapshot, sorted by name; keys in the order in which they were given. */
  listProviders(): Promise<ProviderRow[]>
  /**
   * Adds or replaces a provider by name. Keys are replaced if `keys` is given, and kept otherwise.
   * @param keep the fields that stay for a stored provider; a base URL stays only if the type stays
   */
  upsertProvider(
    provider: Omit<ProviderRow, 'keys' | 'createdAt' | 'updatedAt'> & { keys?: SealedKey[] | undefined },
    keep?: readonly ('type' | 'enabled' | 'baseUrl' | 'settings')[],
  ): Promise<ProviderRow>
  setProviderEnabled(name: string, enabled: boolean): Promise<ProviderRow | null>
  removeProvider(name: string): Promise<boolean>
  /**
   * Provider → its newest failed interception, of those that have one. The records are looked up by an index, one for
   * each provider.
   */
  listLastFailures(): Promise<Map<string, ProviderFailure>>
  /**
   * Adds `providers` if this database has never been seeded, and remembers the seeding, both in one transaction.
   * Concurrent callers seed once. Returns whether this call seeded.
   */
  seedProviders(providers: Parameters<ProviderStore['upsertProvider']>[0][]): Promise<boolean>
}

/** An MCP server as stored: the secret is sealed. */
export interface McpServerRow extends Omit<McpServer, 'hasClientSecret'> {
  clientSecret: Uint8Array | null
}
/** A user's tokens for an MCP server, sealed. */
export interface AuthLinkRow extends Omit<ExternalAuthLink, 'hasRefreshToken'> {
  accessToken: Uint8Array
  refreshToken: Uint8Array | null
}

/** MCP servers, and users' links to them. */
export interface McpStore {
  /** Sorted by id. */
  listMcpServers(): Promise<McpServerRow[]>
  /** Adds or changes a server by id. Absent fields keep their values; absent fields of a new server are null. */
  upsertMcpServer(
    server: Pick<McpServerRow, 'id' | 'url'> & {
      [field in Exclude<keyof McpServerRow, 'id' | 'url' | 'createdAt' | 'updatedAt'>]?: McpServerRow[field] | undefined
    },
  ): Promise<McpServerRow>
  /** Removes the server and the links to the server. */
  removeMcpServer(id: string): Promise<boolean>
  /** Adds or replaces a link; returns null for an unknown server. A refresh of the replaced tokens stores nothing. */
  setAuthLink(link: Omit<AuthLinkRow, 'username' | 'createdAt' | 'updatedAt'>): Promise<AuthLinkRow | null>
  /** Sorted by user and server. */
  listAuthLinks(filter: { userId?: string | undefined; serverIds?: readonly string[] }): Promise<AuthLinkRow[]>
  removeAuthLink(link: { userId: string; serverId: string }): Promise<boolean>
  /**
   * Takes the right to refresh a link for `leaseMs` of the database's time, if the right is free and the refresh token
   * is still this one. The right is no lock of a transaction: the holder asks another server meanwhile, and a dead
   * holder's right ends by itself.
   */
  claimRefresh(claim: {
    userId: string
    serverId: string
    refreshToken: Uint8Array
    lease: string
    leaseMs: number
  }): Promise<boolean>
  /**
   * Stores new tokens, or gives the right back if `tokens` is null. Safe to repeat. Returns false, without a change, if
   * the right was lost.
   */
  finishRefresh(
    claim: { userId: string; serverId: string; lease: string },
    tokens: Pick<AuthLinkRow, 'accessToken' | 'refreshToken' | 'expiresAt'> | null,
  ): Promise<boolean>
}

/** A column with sealed secrets. */
export type SecretColumn = 'providerKey' | 'clientSecret' | 'accessToken' | 'refreshToken'

/** A sealed secret and the row that holds it. */
export interface StoredSecret {
  /**
   * the row's name: of a `providerKey` the provider's name and the key's id, of a `clientSecret` the MCP server's id,
   * of tokens the user's and the server's id
   */
  key: readonly string[]
  sealed: Uint8Array
}

/** Reading and replacing sealed secrets, whatever row holds them; a rotation of the keys does both. */
export interface SecretStore {
  /** Sorted by key. `after` is the key of the secret after which the page begins. */
  listSecrets(query: {
    column: SecretColumn
    after?: readonly string[] | undefined
    limit: number
  }): Promise<StoredSecret[]>
  /** Replaces `from` by `to`. Returns false, without a change, if the column holds another value or none. */
  replaceSecret(change: {
    column: SecretColumn
    key: readonly string[]
    from: Uint8Array
    to: Uint8Array
  }): Promise<boolean>
}
