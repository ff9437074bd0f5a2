/**
 * Every size and time of this service, with its unit and where the number comes from; those of the transport below it stand in
 * `shared/rpc/limits.ts`.
 * "contract" means: agreed between daemons and control plane; a change of it is a change of the API version.
 */

const kib = 1024
const mib = 1024 * kib

/** How often a watcher of records looks without a notification: a notification is quicker, and this finds what a lost one has missed. */
export const feedPollMs = 5_000

/** How long records are kept, and how they are erased so that those who record hardly notice. */
export const retention = {
  /** how long a watcher may be away and still go on without a gap; about 100 bytes a record */
  feedRetentionDays: 7,
  /** an interception that has not ended is kept so much longer */
  unendedDays: 1,
  /** from the start of a server to the first look; it has better to do at first */
  firstRunMs: 10_000,
  intervalMs: 3_600_000,
  /** after a database that did not answer */
  retryMs: 60_000,
  /** interceptions of one transaction: some tens of milliseconds, for which the embedded store does nothing else */
  batchInterceptions: 500,
  /** rows of the feed of one transaction */
  batchFeedRows: 5_000,
  /** between two transactions */
  pauseMs: 50,
  /** how long one call of a purge erases; a third of a call's deadline */
  purgeSliceMs: 10_000,
} as const

/** What a record may hold. Text lengths are in UTF-16 code units, sizes in bytes of UTF-8 (contract). */
export const recordLimits = {
  /** a name, an id or a hint that a provider or a client made */
  maxNameLength: 256,
  maxUserAgentLength: 1024,
  maxUrlLength: 2048,
  /** `prompt`, `input`, `content`, `invocationError`: cut here at a character boundary */
  maxContentBytes: 1 * mib,
  /**
   * The same for a record whose JSON does not fit into a message: a character is at most six bytes of JSON (\u0001), so two such fields
   * always do
   */
  maxEscapedContentBytes: 256 * kib,
  maxErrorMessageBytes: 1024,
  maxMetadataBytes: 64 * kib,
  /** nesting of `metadata`; PostgreSQL's own jsonb limit lies far above, the walk's stack far below */
  maxMetadataDepth: 64,
  maxTokens: 1e12,
  maxBatchRecords: 500,
  /** estimated bytes of all records of a batch; a larger record goes through its own procedure */
  maxBatchBytes: 1 * mib,
} as const

/** What an operator may configure. */
export const adminLimits = {
  maxUsernameLength: 64,
  maxProviderKeys: 32,
  maxProviderKeyLength: 1024,
  /** rows of one page of a list */
  maxPageSize: 200,
  defaultPageSize: 50,
  /** rows of a usage report: a year by day, or a hundred users by ten models */
  maxUsageRows: 1000,
  /** interceptions of a thread that are answered with one of them */
  maxThreadLength: 200,
} as const

/** What the MCP configurator takes and asks. */
export const mcpLimits = {
  maxServers: 256,
  /** a pattern is run on every tool of a server */
  maxRegexLength: 512,
  maxTokenLength: 16 * kib,
  /** for one token: its validation and, if need be, its refresh (contract) */
  tokenValidationTimeoutMs: 5_000,
  /** a token is refreshed this long before it expires: it has to last for the request that it is for */
  tokenExpirySkewMs: 30_000,
  /** how long the one who refreshes a token keeps others from it: twice what it may ask for, and what storing the answer may take */
  refreshLeaseMs: 30_000,
  /** answer of an OAuth server; tokens are some KiB at most */
  maxOAuthResponseBytes: 64 * kib,
} as const

/** The bridge's front door and outbox; all can be configured. */
export const bridgeLimits = {
  /** body of one AI request; Anthropic's own limit for Messages is 32 MB */
  maxBodyBytes: 32 * mib,
  /** how long a revoked key may still work (contract) */
  authCacheTtlMs: 5_000,
  authCacheEntries: 10_000,
  /** from the request until the provider's status line; a blocking answer of a long generation takes minutes */
  upstreamHeadersTimeoutMs: 600_000,
  /** silence inside an answer; Anthropic pings within seconds */
  upstreamIdleTimeoutMs: 120_000,
  upstreamConnectTimeoutMs: 10_000,
  /** bytes kept of a blocking answer or of one stream event for the record; more is passed on unread */
  maxInspectedBytes: 16 * mib,
  outboxMaxRecords: 50_000,
  outboxMaxBytes: 256 * mib,
  outboxRetryMinMs: 50,
  outboxRetryMaxMs: 10_000,
  /** how long `close()` at least tries to hand over what waits in the outbox */
  outboxFlushMs: 5_000,
  /** providers are read again after this time, whatever `watchProviders` has signalled */
  providerTtlMs: 60_000,
} as const

/** Limits of one bridge, see {@link bridgeLimits}. */
export type BridgeLimits = { readonly [name in keyof typeof bridgeLimits]: number }
