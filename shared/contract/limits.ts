/**
 * Every size and time of this service, with the unit and the source of the number; the transport's limits stand in
 * `shared/rpc/limits.ts`. "contract" means: agreed between daemons and control plane; a change is a change of the API
 * version.
 */

const kib = 1024
const mib = 1024 * kib

/**
 * Time between two looks of a watcher without a notification: a notification is quicker, and the look finds records
 * whose notification was lost.
 */
export const feedPollMs = 5_000

/** Retention of records, and the pace of erasing, which hardly disturbs recording. */
export const retention = {
  /** longest absence after which a watcher goes on without a gap; about 100 bytes a record */
  feedRetentionDays: 7,
  /** extra time for an interception without an end */
  unendedDays: 1,
  /** from the start of a server to the first look; a starting server has more urgent work */
  firstRunMs: 10_000,
  intervalMs: 3_600_000,
  /** after a database that did not respond */
  retryMs: 60_000,
  /** interceptions of one transaction: some tens of milliseconds, for which the embedded store does nothing else */
  batchInterceptions: 500,
  /** conversations of one transaction, of 32 MiB at most; most have some hundred KiB */
  batchConversations: 50,
  /** chats of one transaction, with all of their messages; most have some hundred KiB */
  batchChats: 20,
  /** rows of the feed of one transaction */
  batchFeedRows: 5_000,
  /** between two transactions */
  pauseMs: 50,
  /** longest time that one call of a purge erases; a third of a call's deadline */
  purgeSliceMs: 10_000,
} as const

/** Notes of servers, and of the daemons and agents that are connected to them. */
export const presence = {
  /** between two notes that a daemon is connected: one statement for all daemons of a server */
  renewMs: 60_000,
  /** after a database that did not take a note */
  retryMs: 10_000,
  /** without a note for two renewals, a connection is lost together with its server */
  lostMs: 150_000,
  /** an agent without a note for so long has lost its connection together with its server */
  agentGoneAfterMs: 90_000,
  /** between two notes that a server which others reach lives */
  replicaSeenMs: 10_000,
  /** without a note for six times as long, such a server is gone */
  replicaGoneAfterMs: 60_000,
  /** a server that stops waits so long for the last note */
  stopMs: 2_000,
} as const

/** Connections between the servers of one database. */
export const peerLimits = {
  /** streams that one server follows at another: some hundred chats, with as many watchers as wanted each */
  maxSubscriptions: 4_096,
  /** these, and as many calls beside */
  maxInFlight: 8_192,
  /** connections to one server: one from each other server, and those of servers that were killed */
  maxConnections: 256,
  /** difference between the clocks of two servers that a token may have */
  tokenValidMs: 300_000,
  /** a connection without a call is closed after this time */
  idleMs: 30_000,
  /** between two looks where an agent is, for calls that wait; a notification wakes them earlier */
  recheckMs: 5_000,
} as const

/** Ends of interceptions whose daemon is gone, and the pace of the search. */
export const abandonment = {
  /** longest absence of a daemon, whose requests may go on and whose records wait in its outbox (contract) */
  interceptionAbandonedAfterMs: 86_400_000,
  /** from the start of a server to the first look: daemons that wait for it are back within seconds */
  firstRunMs: 15_000,
  intervalMs: 3_600_000,
  /** after a database that did not respond */
  retryMs: 60_000,
  /** interceptions that one transaction reads, whether open or not: some milliseconds */
  batchInterceptions: 2_000,
  /** between two transactions */
  pauseMs: 50,
  /** longest time that one call of a daemon ends interceptions; a sixth of a call's deadline */
  sliceMs: 5_000,
  /** daemons of one run, which all stand in memory */
  maxDaemons: 1_000,
  /** daemons that one call may name (contract) */
  maxDaemonInstances: 100,
  /** how much later than its start an interception without a daemon may be stored, and still be found */
  lateMs: 86_400_000,
} as const

/** Erasures on their way to the outboxes of daemons. */
export const erasure = {
  /** a daemon that was away for that long still erases; a row is some bytes, and names a user by id only */
  keptDays: 365,
  /** an outbox that was not seen for longer is taken as lost, and a purge does not name it; as long as dead letters */
  outboxDays: 30,
  /** the same for an outbox in memory: after a day, a daemon is gone */
  memoryOutboxDays: 1,
  /** erasures that an outbox is given before it has confirmed some, and in one confirmation (contract) */
  maxUnconfirmed: 100,
  /** records that one confirmation counts; far above what an outbox holds (contract) */
  maxRecords: 1e9,
  /** between two notes that an outbox is watched */
  noteMs: 600_000,
  /** age of such a note after which an outbox counts as not connected: two notes are missing */
  connectedMs: 1_500_000,
  /** from the beginning of a purge's call: connected daemons are waited for; they need milliseconds */
  waitMs: 5_000,
} as const

/** Limits of a record. Text lengths are in UTF-16 code units, sizes in bytes of UTF-8 (contract). */
export const recordLimits = {
  /** a name, an id or a hint made by a provider or a client */
  maxNameLength: 256,
  maxUserAgentLength: 1024,
  maxUrlLength: 2048,
  /** `prompt`, `input`, `content`, `invocationError`: cut here at a character boundary */
  maxContentBytes: 1 * mib,
  /**
   * The same for a record whose JSON does not fit into a message: a character is at most six bytes of JSON (\u0001), so
   * two such fields always fit
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

/** Limits of an operator's settings. */
export const adminLimits = {
  maxUsernameLength: 64,
  maxProviderKeys: 32,
  maxProviderKeyLength: 1024,
  /** rows of one page of a list */
  maxPageSize: 200,
  defaultPageSize: 50,
  /** rows of a usage report: a year by day, or a hundred users by ten models */
  maxUsageRows: 1000,
  /** records that one call of a backfill prices: about a second */
  maxBackfill: 2_000,
  /** interceptions of a thread that are returned with an interception */
  maxThreadLength: 200,
  /** a test of a provider: a third of a call's deadline */
  providerTestTimeoutMs: 10_000,
  /** a test of an MCP server: its token, a session and all pages of its tools; half of a call's deadline */
  mcpTestTimeoutMs: 15_000,
  /** one response of an MCP server that is tested */
  maxMcpResponseBytes: 4 * mib,
  /** tools that a test of an MCP server lists; the longest known lists have some hundreds */
  maxMcpTools: 2_000,
  /** the list of models that such a test reads; the longest known lists have less than 2 MiB */
  maxModelsBytes: 8 * mib,
} as const

/** Limits of the MCP configurator's inputs and requests. */
export const mcpLimits = {
  maxServers: 256,
  /** a pattern is run on every tool of a server */
  maxRegexLength: 512,
  maxTokenLength: 16 * kib,
  /** for one token: its validation and, if need be, its refresh (contract) */
  tokenValidationTimeoutMs: 5_000,
  /** a token is refreshed this long before the expiry, because the token has to last for its request */
  tokenExpirySkewMs: 30_000,
  /** exclusive time of a process that refreshes a token: twice the longest request, and time to store the response */
  refreshLeaseMs: 30_000,
  /** response of an OAuth server; tokens are some KiB at most */
  maxOAuthResponseBytes: 64 * kib,
} as const

/**
 * Limits of a conversation with injected tools. Sizes are bytes of JSON text in UTF-8; a container is an object or an
 * array (contract).
 */
export const conversationLimits = {
  /** Chat Completions takes 128 tools, other APIs some hundreds */
  maxTools: 512,
  /** goes to the provider with every request of the conversation: a quarter of a million tokens */
  maxToolsBytes: 1 * mib,
  maxToolsContainers: 65_536,
  /** MCP's own recommendation; a longer name is offered nowhere, since patterns of operators run on every name */
  maxBareNameLength: 128,
  /** far above what models read well; some servers put a manual there */
  maxDescriptionLength: 16_384,
  /** a turn goes in one message of 4 MiB, beside its envelope */
  maxTurnBytes: 3 * mib,
  /** a quarter of a message's `maxContainers`; results are text, so that only inputs count */
  maxTurnContainers: 65_536,
  /** a round is a call to the provider: more than a turn may have */
  maxRounds: 64,
  /** visible parts of a turn: text, calls, thoughts */
  maxAnchors: 4_096,
  /** an id or a hash; signatures are hashed */
  maxAnchorLength: 1_024,
  /** half of what each recursion over a message survives */
  maxDepth: 512,
  /** the oldest go: a turn is a message of a user at least, and longer conversations are compacted or begun anew */
  maxTurns: 2_000,
  /** the oldest go: all turns are sent to the provider with each request, whose body has at most 32 MiB */
  maxTurnsBytes: 32 * mib,
  /** the number of a turn; dropped ones count */
  maxTurnNumber: 2_147_483_647,
  /** turns and tools of one page, in one message of 4 MiB; any turn fits into a page without tools */
  maxPageBytes: 3.5 * mib,
  maxPageContainers: 196_608,
  /** between two notes of the last use, by which retention erases: a note is a write, and a use is a request */
  usedNoteMs: 3_600_000,
} as const

/** Limits of the processes of an agent, and what is kept of them. */
export const processLimits = {
  /** an id or a scope, made by the caller (contract) */
  maxIdLength: 256,
  /** Linux takes arguments of 128 KiB; longer programs belong into files (contract) */
  maxCommandBytes: 64 * kib,
  /** with names and values of at most `maxEnvBytes` together (contract) */
  maxEnvEntries: 256,
  /** together with a command far below the 2 MiB that Linux takes; an agent's own variables need some KiB (contract) */
  maxEnvBytes: 64 * kib,
  /** PATH_MAX of Linux (contract) */
  maxDirLength: 4096,
  /** one wait for an end; longer waits are several calls, so that a lost connection is noticed (contract) */
  maxWaitMs: 300_000,
  /** deadline of a process: a day (contract) */
  maxDeadlineMs: 86_400_000,
  /** a call to an agent waits so long for an agent that is away, beside the wait that the call asks for (contract) */
  patienceMs: 30_000,
  /** processes at once; each may read and write 64 KiB at a time */
  maxRunning: 64,
  /** processes with their output, running ones included: at most 32 KiB each */
  maxKept: 1024,
  /** ended processes without output, and cancelled ids: some hundred bytes each */
  maxPast: 16_384,
  /** from the end of a process, or from the last time that its output was read */
  keptMs: 300_000,
  /** from the exit of a command until its end, if background children hold the output open */
  pipeGraceMs: 5_000,
  /** from SIGTERM to SIGKILL, for a cancelled process and for one behind its deadline */
  killAfterMs: 2_000,
  /** from SIGTERM to SIGKILL, for the processes of an agent that closes */
  closeGraceMs: 5_000,
  /** from SIGKILL until an agent that closes waits no longer; only a fault of a disk or a driver takes longer */
  killedMs: 1_000,
  /** output that is kept: the beginning names the cause, the end has the result */
  headBytes: 16 * kib,
  tailBytes: 16 * kib,
  /** longer lines are data, not text for a reader */
  maxLineBytes: 2048,
  /** processes of a list */
  maxListed: 10,
  /** of a command in a list */
  maxListedCommandBytes: 1 * kib,
  /** of an agent's response: twice `headBytes` and `tailBytes`, so that the marks of omitted bytes fit */
  maxOutputLength: 64 * kib,
  /** of a platform, a version and a signal, as an agent names them */
  maxNameLength: 256,
  /** of the message of an agent's error; the control plane passes it on to operators */
  maxErrorBytes: 1 * kib,
} as const

/** Connections of users to a control plane, over all of its doors. */
export const userConnections = {
  /** half of the places of a door: daemons and operators keep the other half */
  maxConnections: 5_000,
  /** some programs and pages of one person */
  maxConnectionsOfUser: 64,
} as const

/** Limits of chats and of their live parts. Sizes are bytes of JSON text in UTF-8 unless they say otherwise. */
export const chatLimits = {
  /** a message of a user: a message of the link has 4 MiB (contract) */
  maxMessageBytes: 1 * mib,
  maxParts: 200,
  maxQueue: 50,
  /** of the parts of all messages that wait, which go out in one message of 4 MiB (contract) */
  maxQueueBytes: 2 * mib,
  /** of one chat, without deleted ones; a page of messages reads few of them (contract) */
  maxMessages: 10_000,
  /**
   * of the parts of a chat's messages, at the beginning of a step: above what any model takes, and little enough that a
   * server can hold the histories of all chats that it runs
   */
  maxHistoryBytes: 16 * mib,
  /** a sequence number or a version (contract) */
  maxSeq: 2_147_483_647,
  maxModelLength: 256,
  maxTitleLength: 256,
  /** about 16,000 tokens, sent with every call of the model (contract) */
  maxSystemBytes: 64 * kib,
  /** PATH_MAX of Linux (contract) */
  maxCwdLength: 4096,
  maxFileNameLength: 4096,
  maxLine: 1_000_000_000,
  maxAgentNameLength: 256,
  maxCursorLength: 128,
  /** a page of messages, in one message of 4 MiB; one message always fits */
  maxPageBytes: 2 * mib,
  /** a response or the results of its tools: above it the turn fails; a page holds one such message */
  maxStoredMessageBytes: 3 * mib,
  /** of a response by Anthropic Messages, which takes no request without: every current model writes as much */
  maxOutputTokens: 32_000,
  /** calls of the model in one turn */
  maxSteps: 50,
  /** calls of tools in one response, as many as an agent runs at once; later ones get an error as their result */
  maxToolCalls: 64,
  /** of one history version */
  maxAttempts: 8,
  /** of one step of tools: its servers go on with the same commands, and one of 4 h outlasts a server each 4 minutes */
  maxToolAttempts: 64,
  /** a longer `Retry-After` fails the turn, with the time */
  maxRetryAfterMs: 60_000,
  retryMinMs: 1_000,
  retryMaxMs: 60_000,
  /** running chats of one server */
  maxRunning: 16,
  /** a server that dies keeps its chats for so long */
  leaseMs: 30_000,
  renewMs: 10_000,
  /** between two looks for chats without a server, and two looks of a watcher, without a notification */
  pollMs: 5_000,
  /** an interrupt that the owner has not finished by then is finished by another server */
  interruptTakeoverMs: 3_000,
  /** between two checks of the keys of running chats; a revoked key ends turns within 5 s */
  keyCheckMs: 4_000,
  /** live parts of one attempt */
  episodeBytes: 1 * mib,
  /** live parts of a server, in all */
  episodesBytes: 64 * mib,
  /** live parts are kept so long behind the end of their attempt: watchers of other servers may be on the way */
  episodeKeptMs: 15_000,
  /** of a command without a `timeout`; the command goes on behind it */
  commandTimeoutMs: 10_000,
  /** the longest `timeout` of a command */
  maxCommandTimeoutMs: 14_400_000,
  /** output of a command in a result */
  maxToolOutputBytes: 32 * kib,
} as const

/** Tools of MCP servers that a bridge puts into model requests, and their calls. */
export const toolLimits = {
  /** for one server and all its pages: the first request of a conversation waits for the slowest server */
  listTimeoutMs: 5_000,
  /** age above which the tools of a user are listed again, for conversations that begin */
  listTtlMs: 60_000,
  /** users whose tools are kept; the oldest make room */
  maxListedUsers: 1_000,
  /** pages of one server: a cursor that never ends */
  maxPages: 50,
  maxToolsOfServer: 256,
  /** larger schemas cost more than their tool is worth; those of large real servers have some KiB */
  maxSchemaBytes: 64 * kib,
  /** nesting of a schema; APIs take a few levels */
  maxSchemaDepth: 64,
  /** until a server has begun a session */
  beginTimeoutMs: 10_000,
  /** age above which tools are listed again if a server failed: conversations that begin meanwhile lack its tools */
  failedListTtlMs: 10_000,
  /** for the end of a session, which nobody waits for */
  endTimeoutMs: 2_000,
  /** text of a result, about 60,000 tokens; the rest is cut */
  maxResultBytes: 256 * kib,
  /** images of a result as base64; hidden turns with images are kept, and sent with every request */
  maxImageBytes: 1 * mib,
  /** parts of a result */
  maxParts: 100,
  /** one HTTP response of a server, a stream included: above a result with its images */
  maxResponseBytes: 8 * mib,
  /** requests of a server that are responded to in one session: pings */
  maxServerRequests: 100,
  /** sessions of a bridge; the least used one makes room */
  maxSessions: 1_000,
  maxSessionsOfUser: 64,
  idleSessionMs: 1_800_000,
} as const

/** The longest time for which a server holds a connection whose client takes nothing of a waiting response. */
export const maxClientTimeoutMs = 3_600_000

/** The bridge's front door and outbox; all can be configured. */
export const bridgeLimits = {
  /** body of one AI request; Anthropic's own limit for Messages is 32 MB */
  maxBodyBytes: 32 * mib,
  /** longest time that a revoked key still works (contract) */
  authCacheTtlMs: 5_000,
  authCacheEntries: 10_000,
  /** bodies of all requests in flight; a request above it gets 503 */
  maxTotalBodyBytes: 512 * mib,
  /** for each further 16 KiB of a request's body; slower clients hold memory and a connection for nothing */
  bodyTimeoutMs: 30_000,
  /** silence of a client that does not take the response: long enough for a program that was suspended */
  clientTimeoutMs: 300_000,
  /** for the calls to the control plane before a provider is called: SDKs give up first, or soon after */
  controlPlaneDeadlineMs: 10_000,
  /** from the request until the provider's status line; a blocking response of a long generation takes minutes */
  upstreamHeadersTimeoutMs: 600_000,
  /** silence inside a response: twice the 300 s of Claude Code and Codex, which would be billed again after a cut */
  upstreamIdleTimeoutMs: 600_000,
  /** how long the usage of a whole response is awaited when its client has left */
  drainMs: 5_000,
  upstreamConnectTimeoutMs: 10_000,
  /** bytes kept of a blocking response or of one stream event for the record; the rest is passed on unread */
  maxInspectedBytes: 16 * mib,
  outboxMaxRecords: 50_000,
  outboxMaxBytes: 256 * mib,
  outboxRetryMinMs: 50,
  outboxRetryMaxMs: 10_000,
  /** shortest time that `close()` tries to hand over records that are in memory only */
  outboxFlushMs: 5_000,
  /** longest time that `close()` tries to hand over records that are kept on disk: the next process has them */
  outboxKeptFlushMs: 2_000,
  /** providers are read again after this time, with or without a signal of `watchProviders` */
  providerTtlMs: 60_000,
  /** MCP servers and tokens are read again after this time; a token that a server rejects, at once */
  mcpTtlMs: 60_000,
  /** users whose MCP servers and tokens are kept, the last ones: some KiB each */
  mcpMaxUsers: 1_000,
  /** one message to an MCP server, and one of a server that has to be read; MCP carries files inside of messages */
  mcpMaxMessageBytes: 4 * mib,
  /** sessions of one user with MCP servers: some clients with some servers each; unused ones give way to new ones */
  mcpMaxSessions: 64,
  /** an MCP session without a request is ended after this time, and so is a silent stream: clients resume both */
  mcpSessionIdleMs: 1_800_000,
  /** requests of one user to MCP servers at a time, streams included: four in each session */
  mcpMaxRequests: 256,
  /** between two looks whether a stream's key is still good */
  mcpStreamCheckMs: 60_000,
  /** one call of an injected tool, with the beginning of its session; as long as MCP's own clients wait */
  mcpCallTimeoutMs: 60_000,
  /** calls to the provider for one request; a model that has found nothing by then goes round in circles */
  maxInjectedRounds: 30,
  /** for all rounds of one request: SDKs wait ten minutes */
  injectedTotalMs: 600_000,
  /** between signs of life while tools run; proxies close connections that are silent for 30 s and more */
  injectedPingMs: 10_000,
} as const

/** Limits of one bridge, see {@link bridgeLimits}. */
export type BridgeLimits = { readonly [name in keyof typeof bridgeLimits]: number }
