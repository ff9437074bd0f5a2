/**
 * What services may ask of a store, with the guarantees they rely on. Every implementation passes test/store/*.test.ts.
 *
 * - A promise that resolves means: committed, and there after `kill -9` of this process.
 * - A method that rejects has changed nothing. It rejects with `INTERNAL_SERVER_ERROR` when the database cannot answer; a row that is not
 *   there is a value (null, false, an outcome), never an error.
 * - All inputs are checked and cleaned (shared/*.ts); times come back as Date, counts as number, absent values as null.
 * - A call waits for a database that restarts, for 10 s at least; one that changes nothing the second time is repeated meanwhile.
 */
import type {
  ApiKey,
  AuditRecord,
  DaemonKey,
  ExternalAuthLink,
  Interception,
  InterceptionDetail,
  McpServer,
  UsageGroup,
  UsageRow,
  User,
  UserStatus,
  WatchedRecord,
} from '../../shared/contract/admin.js'
import type { ProviderType } from '../../shared/contract/provider-configurator.js'
import type { RecordKind } from '../../shared/contract/record-kinds.js'
import type { CheckedRecord, RecordOutcome } from '../../shared/contract/recorder.js'
import type { JsonObject } from '../../shared/values/text.js'

export interface Store extends Tables, AuditedWrites, ChangeStore {
  /** Resolves when the database answers. */
  ping(): Promise<void>
  /** Resolves when every call that is under way now has ended, whichever way. */
  settle(): Promise<void>
  /** Ends open work, for 10 s at most, then closes the database. A second call gets the same promise. */
  close(): Promise<void>
}

/** What can be read and written, also within a transaction. */
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
    AuditStore {}

export interface AuditedWrites {
  /**
   * Does a write and adds to the audit log what `entryOf` makes of its result, both in one transaction: neither is there without the other.
   * No entry where that is null, because nothing was written.
   */
  audited<T>(work: (tables: Tables) => Promise<T>, entryOf: (result: T) => AuditEntry | null): Promise<T>
}

/** Who did what to what. `details` never holds a secret. */
export type AuditEntry = Pick<AuditRecord, 'actor' | 'action' | 'target' | 'details'>

/** An entry as it is stored: without the name of the user that it is about. */
export type AuditRow = Omit<AuditRecord, 'username'>

export interface AuditStore {
  /** Newest first, by time and then id. `before` is the position after which the page begins. */
  listAudit(query: {
    limit: number
    before?: { at: Date; id: string } | undefined
    actor?: string | undefined
    action?: string | undefined
    target?: string | undefined
  }): Promise<AuditRow[]>
}

export interface ChangeStore {
  /**
   * Calls `listener` after each commit of any process that changed the topic, once for several that come together, and whenever a change may
   * have been missed: soon after a lost connection to the database is back. Returns what ends it.
   */
  onChange(topic: 'providers' | 'daemon_keys' | 'records', listener: () => void): () => void
}

export interface FeedStore {
  /** The position of the record that was committed last; 0 if there is none. */
  feedEnd(): Promise<number>
  /**
   * What was committed after a position, in the order of the commits, at most `limit` records; erased ones are left out. `end` is the position to go on from,
   * `isWhole` says that there was nothing more. `known: false`: what came after this position is not kept any more.
   */
  readFeed(query: { after: number; limit: number }): Promise<FeedPage>
}
export interface FeedPage {
  known: boolean
  events: { position: number; record: WatchedRecord }[]
  end: number
  isWhole: boolean
}

/** Kind → a checked record in its one normal form: an interception has a provider name, and its user agent stands in its metadata (`userAgentKey`). */
type NormalRecords = {
  [K in RecordKind]: K extends 'interception'
    ? Omit<CheckedRecord<'interception'>, 'userAgent' | 'providerName'> & { providerName: string }
    : CheckedRecord<K>
}

/** A checked record in its one normal form. */
export type NormalRecord<K extends RecordKind = RecordKind> = NormalRecords[K]

/** A normalised record and the SHA-256 of its content, which decides whether a repeat is the same. */
export type StoredRecord<K extends RecordKind = RecordKind> = {
  [P in K]: { kind: P; record: NormalRecords[P]; contentHash: Uint8Array }
}[K]

export interface RecordStore {
  /**
   * Stores records in one transaction, in order; a refused one does not stop the others. One outcome per record:
   * - same id and kind, same hash: ok, nothing changes; other hash: `CONFLICT`
   * - a child or an end whose interception neither is stored nor stands earlier in `records`: `NOT_FOUND`
   * - an end: the first one wins, a later one is ok and changes nothing; its hint is applied to `centralized` rows only
   *
   * Lineage: an interception with a `correlatingToolCallId` has as parent the interception of the newest tool usage (by `createdAt`, then id)
   * of the same initiator with that `toolCallId`, other than its own; its root is the parent's root or else the parent. It is the same whichever of
   * the two is stored first, also by concurrent calls. Where links form a cycle, that of its oldest interception (by `startedAt`, then id) is left out.
   */
  record(records: readonly StoredRecord[]): Promise<RecordOutcome[]>
}

export interface InterceptionStore {
  /** Newest first, by `startedAt` and then id. `before` is the position after which the page begins. */
  listInterceptions(query: InterceptionQuery): Promise<Interception[]>
  getInterception(id: string): Promise<InterceptionDetail | null>
}

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
  /** `from` ≤ startedAt < `to` */
  from?: Date | undefined
  to?: Date | undefined
}

export interface UsageStore {
  /**
   * Interceptions and their tokens by the groups in `by`, from one snapshot; without groups one row. An interception counts once, however many token usages
   * it has. Sorted by day, newest first, then all tokens together, most first, then interceptions, then the groups.
   */
  readUsage(query: UsageQuery): Promise<UsageRow[]>
}
export interface UsageQuery
  extends Pick<InterceptionQuery, 'limit' | 'initiatorId' | 'provider' | 'model' | 'from' | 'to'> {
  by: readonly UsageGroup[]
}

/** What was erased: interceptions, and the records that belonged to them. */
export interface Erased {
  interceptions: number
  records: number
}

/**
 * Erasing in batches of at most `limit`, the oldest first, each one transaction. An interception that somebody is writing to is left for a later batch, so
 * no batch waits for a recorder. A child that comes too late is `NOT_FOUND`; the id of an erased interception stays in the `parentId` of those that continue it.
 */
export interface ErasureStore {
  /**
   * Erases interceptions that started before `startedBefore` and have ended, or started before `unendedBefore`.
   * null: another process is at it. There is one at a time, and a process that dies does not stand in the way.
   */
  eraseOldInterceptions(query: { startedBefore: Date; unendedBefore: Date; limit: number }): Promise<Erased | null>
  /** Erases interceptions of one user. */
  eraseInterceptionsOf(query: { initiatorId: string; limit: number }): Promise<Erased>
  /**
   * Forgets rows of the feed that were noted before a time, from its begin, and returns how many; {@link FeedStore.readFeed} knows from then on that
   * they are gone. null as above.
   */
  trimFeed(query: { notedBefore: Date; limit: number }): Promise<number | null>
}

export interface PurgeStore {
  /** Whether anything is stored of a user: the user, keys, links or interceptions. The audit log does not count. */
  holdsUser(id: string): Promise<boolean>
  /** Marks the user as deleted and lets the API keys expire at `at`, where they are not yet; whether anything changed. */
  refuseUser(id: string, at: Date): Promise<boolean>
  /**
   * Deletes the user's API keys and links, and the user, and puts the id in place of the name into the entries of the audit log that name the user.
   * null, and nothing is done, while an interception of the user is stored.
   */
  eraseUser(id: string): Promise<{ apiKeys: number; links: number } | null>
}

export interface UserStore {
  /** null: a user that is not deleted has this name. */
  createUser(user: { id: string; username: string; isSystem?: boolean }): Promise<User | null>
  /** By id, or by the name of a user that is not deleted. */
  findUser(idOrUsername: string): Promise<User | null>
  /** Id → name of those of the ids that are stored, deleted users too. */
  findUsernames(ids: readonly string[]): Promise<Map<string, string>>
  /** Deleted users too, sorted by name, then creation. */
  listUsers(): Promise<User[]>
  setUserStatus(id: string, status: UserStatus): Promise<User | null>
  /** Marks the user as deleted, once; the records stay. */
  deleteUser(id: string): Promise<User | null>
}

export interface ApiKeyStore {
  /** null: the id is taken. `username` is null where no such user is stored. */
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
  /** Sets `lastUsedAt` to `at` where it is earlier. A key that another transaction is writing to is left out, so the call waits for none. */
  recordKeysUsed(ids: readonly string[], at: Date): Promise<void>
}

/** What an API key is checked by; `owner` is null where no such user is stored. */
export interface FoundApiKey extends Pick<ApiKey, 'id' | 'expiresAt' | 'lastUsedAt'> {
  secretHash: Uint8Array
  owner: User | null
}

export interface DaemonKeyStore {
  /** null: the id is taken. */
  createDaemonKey(
    key: Pick<DaemonKey, 'id' | 'name' | 'delegate' | 'expiresAt'> & { secretHash: Uint8Array },
  ): Promise<DaemonKey | null>
  findDaemonKey(id: string): Promise<(DaemonKey & { secretHash: Uint8Array }) | null>
  /** Newest first, then by id. */
  listDaemonKeys(): Promise<DaemonKey[]>
  /** Sets `revokedAt` to `at`, once. */
  revokeDaemonKey(id: string, at: Date): Promise<DaemonKey | null>
  /** Nothing happens where there is no such key, or it was seen later. */
  recordDaemonSeen(id: string, seen: { at: Date; buildVersion: string | null }): Promise<void>
  /** As {@link recordDaemonSeen}, for several, without what they said of themselves. */
  recordDaemonsConnected(ids: readonly string[], at: Date): Promise<void>
  /** Those of `ids` that are revoked, have expired at `at`, or are not stored. */
  findInvalidDaemonKeys(ids: readonly string[], at: Date): Promise<string[]>
}

/** A provider as it is stored: its keys sealed, each with a hint that may be shown. */
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
export interface SealedKey {
  id: string
  sealed: Uint8Array
  hint: string
}

export interface ProviderStore {
  /** One consistent snapshot, sorted by name; keys in the order in which they were given. */
  listProviders(): Promise<ProviderRow[]>
  /**
   * Adds or replaces by name. Keys are replaced where they are given, else kept.
   * @param keep what stays as it is where the provider is there already; a base URL only where its type stays too
   */
  upsertProvider(
    provider: Omit<ProviderRow, 'keys' | 'createdAt' | 'updatedAt'> & { keys?: SealedKey[] | undefined },
    keep?: readonly ('type' | 'enabled' | 'baseUrl' | 'settings')[],
  ): Promise<ProviderRow>
  setProviderEnabled(name: string, enabled: boolean): Promise<ProviderRow | null>
  removeProvider(name: string): Promise<boolean>
  /**
   * Adds `providers` if this database has never been seeded, and remembers that, both in one transaction.
   * Concurrent callers seed once. Returns whether this call did.
   */
  seedProviders(providers: Parameters<ProviderStore['upsertProvider']>[0][]): Promise<boolean>
}

/** An MCP server as it is stored: its secret sealed. */
export interface McpServerRow extends Omit<McpServer, 'hasClientSecret'> {
  clientSecret: Uint8Array | null
}
/** A user's tokens for an MCP server, sealed. */
export interface AuthLinkRow extends Omit<ExternalAuthLink, 'hasRefreshToken'> {
  accessToken: Uint8Array
  refreshToken: Uint8Array | null
}

export interface McpStore {
  /** Sorted by id. */
  listMcpServers(): Promise<McpServerRow[]>
  /** Adds or changes by id: what is left out stays, of a new one it is null. */
  upsertMcpServer(
    server: Pick<McpServerRow, 'id' | 'url'> & {
      [field in Exclude<keyof McpServerRow, 'id' | 'url' | 'createdAt' | 'updatedAt'>]?: McpServerRow[field] | undefined
    },
  ): Promise<McpServerRow>
  /** Removes the links to it too. */
  removeMcpServer(id: string): Promise<boolean>
  /** Adds or replaces; null if there is no such server. Whoever refreshes the old one has lost. */
  setAuthLink(link: Omit<AuthLinkRow, 'username' | 'createdAt' | 'updatedAt'>): Promise<AuthLinkRow | null>
  /** Sorted by user and server. */
  listAuthLinks(filter: { userId?: string | undefined; serverIds?: readonly string[] }): Promise<AuthLinkRow[]>
  removeAuthLink(link: { userId: string; serverId: string }): Promise<boolean>
  /**
   * Takes the right to refresh a link for `leaseMs` of the database's time, if nobody has it and the refresh token is still this one. It is no lock of a
   * transaction: its holder asks another server while it has it, and if the holder dies, it ends by itself.
   */
  claimRefresh(claim: {
    userId: string
    serverId: string
    refreshToken: Uint8Array
    lease: string
    leaseMs: number
  }): Promise<boolean>
  /** Stores new tokens, or with null only gives the right back. Safe to repeat. False: the right was lost, and nothing is stored. */
  finishRefresh(
    claim: { userId: string; serverId: string; lease: string },
    tokens: Pick<AuthLinkRow, 'accessToken' | 'refreshToken' | 'expiresAt'> | null,
  ): Promise<boolean>
}

/** A column with sealed secrets. */
export type SecretColumn = 'providerKey' | 'clientSecret' | 'accessToken' | 'refreshToken'

export interface StoredSecret {
  /** what names the row: of a `providerKey` the provider's name and the key's id, of a `clientSecret` the MCP server's id, of the tokens the user's and the server's */
  key: readonly string[]
  sealed: Uint8Array
}

export interface SecretStore {
  /** Sorted by key. `after` is the key of the secret after which the page begins. */
  listSecrets(query: {
    column: SecretColumn
    after?: readonly string[] | undefined
    limit: number
  }): Promise<StoredSecret[]>
  /** Puts `to` in the place of `from`; false, and nothing happens, if something else stands there, or nothing. */
  replaceSecret(change: {
    column: SecretColumn
    key: readonly string[]
    from: Uint8Array
    to: Uint8Array
  }): Promise<boolean>
}
