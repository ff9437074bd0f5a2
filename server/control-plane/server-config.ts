import type { ProviderSeed } from '../services/admin/providers/provider-seeds.js'
import type { RotateKeys } from '../services/admin/secret-rotation.js'

/** The settings of a control plane: its secrets, and options with defaults. Times are in milliseconds. */
export interface BridgeServerConfig {
  /**
   * makes an admin of a WebSocket's peer that sends `Authorization: Bearer`; default: no peer is an admin over a
   * WebSocket
   */
  adminToken?: string | undefined
  /** 32 bytes each; the first seals secrets, all open them */
  encryptionKeys: readonly Uint8Array[]
  /** names the keys in error messages, for instance the path of their file; default `encryptionKeys` */
  encryptionKeysSource?: string
  /** base URL at which the other servers of the database reach this one; default: they do not */
  advertiseUrl?: string | undefined
  /** makes a new key for `admin.secrets.rotate`; only if the keys are the server's own */
  rotateKeys?: RotateKeys | undefined
  /** whether the mounted bridge records prompts and responses; without them there are no chats; default true */
  recordsContent?: boolean
  /**
   * the provider and the model of chats that clients of the Agent Client Protocol begin without naming one; default
   * `demo`
   */
  acpDefaults?: { provider: string; model: string }
  /** the origins of web pages that may use `/acp`; default: none */
  allowedOrigins?: readonly string[]
  /** the version by which this program describes itself; default `0.0.0` */
  buildVersion?: string
  /** each record is also a log line `interception log`; default false */
  structuredLogging?: boolean
  /** providers of a database that is used for the first time, beside `demo`; the database decides afterwards */
  seeds?: readonly ProviderSeed[]
  /** age in days from which interceptions are erased; default 0: never */
  retentionDays?: number
  /** absence of a daemon after which its open interceptions are ended; default a day */
  interceptionAbandonedAfterMs?: number
  /**
   * time between two checks of the daemon keys of open connections, and the silence on a connection after which a ping
   * is sent; default 30 s
   */
  heartbeatMs?: number
  /**
   * addresses and networks of proxies whose `X-Forwarded-For` counts for the address of a peer, in the log and against
   * guessed keys; default: none
   */
  trustedProxies?: readonly string[]
  /**
   * Returns the command that lists recorded requests of the server at a URL; the provider `demo` names the command.
   * Default: none is named.
   */
  listCommand?: (url: string) => string
}
