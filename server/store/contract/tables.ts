/** The questions about the rows of operators: users, keys, providers, MCP servers and sealed secrets. */
import type { ApiKey } from '../../../shared/contract/admin/api-keys.js'
import type { DaemonKey } from '../../../shared/contract/admin/daemon-keys.js'
import type { ExternalAuthLink } from '../../../shared/contract/admin/external-auth-links.js'
import type { McpServer } from '../../../shared/contract/admin/mcp-servers.js'
import type { ProviderFailure } from '../../../shared/contract/admin/providers.js'
import type { User, UserStatus } from '../../../shared/contract/admin/users.js'
import type { ProviderType } from '../../../shared/contract/provider-configurator.js'
import type { JsonObject } from '../../../shared/values/text.js'

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
  /**
   * Returns the user's key of kind and name `chats`, made if there is none; an expired one is returned as it is. Null
   * for a user that does not exist or is deleted.
   * @param key of the key to make; its id is free
   */
  findOrCreateChatsKey(key: { id: string; userId: string; secretHash: Uint8Array }): Promise<FoundApiKey | null>
  /** The key and its owner, read in one snapshot. */
  findApiKey(id: string): Promise<FoundApiKey | null>
  /** Sorted by creation, then id. */
  listApiKeys(filter: { userId?: string | undefined }): Promise<ApiKey[]>
  /** Sets `expiresAt` to `at` unless it is already earlier. */
  expireApiKey(id: string, at: Date): Promise<ApiKey | null>
  deleteApiKey(id: string): Promise<boolean>
  /**
   * Returns the ids among `ids` whose keys have expired at `at` or are not stored, or whose owner is not active, is
   * deleted, or is a system user.
   */
  findInvalidApiKeys(ids: readonly string[], at: Date): Promise<string[]>
  /**
   * Sets `lastUsedAt` to `at` where the stored time is earlier. Keys under another transaction's lock are left out, so
   * the call never waits.
   */
  recordKeysUsed(ids: readonly string[], at: Date): Promise<void>
}

/** The kinds of API keys: those of users, and the one under which the server calls models for a user's chats. */
export type ApiKeyKind = 'user' | 'chats'

/** The facts that an API key is checked by; `owner` is null for an unknown user. */
export interface FoundApiKey extends Pick<ApiKey, 'id' | 'expiresAt' | 'lastUsedAt'> {
  kind: ApiKeyKind
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

/** A key that its provider rejects, as a daemon reported it. */
export interface KeyRejectionRow {
  provider: string
  keyId: string
  status: number
  /** the model of the request; null if the key is rejected for all */
  model: string | null
  /** name of the daemon */
  reportedBy: string
  at: Date
}

/** Providers and their sealed keys. */
export interface ProviderStore {
  /** One consistent snapshot, sorted by name; keys in the order in which they were given, the preferred one first. */
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
  /**
   * Replaces the keys of a provider by those that `change` makes of them; no other change of its keys comes between.
   * The error of `change` leaves them as they are.
   */
  changeProviderKeys(name: string, change: (keys: SealedKey[]) => SealedKey[]): Promise<ProviderRow | null>
  /**
   * Notes that a provider rejects a key. Returns whether that is news: the first rejection since the provider changed,
   * or the first for all models. A rejection of an unknown key, or from before the last change, is not noted.
   * @param revision the `updatedAt` of the provider, as the daemon had it
   */
  noteKeyRejection(rejection: Omit<KeyRejectionRow, 'at'> & { revision: Date }): Promise<boolean>
  /** Returns the rejections of keys since the last change of their provider. */
  listKeyRejections(): Promise<KeyRejectionRow[]>
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
  /**
   * Adds or changes a server by id. Absent fields keep their values; absent fields of a new server are null, or false.
   */
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
