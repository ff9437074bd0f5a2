/** A client of the control plane on any dial, in Node and in a browser. */
import type { AppRouter } from '../server/routers/app.js'
import { finalCloseCodes } from '../shared/contract/close-codes.js'
import { apiVersion } from '../shared/contract/version.js'
import type { CallEnd } from '../shared/rpc/call-end.js'
import type { CloseReason } from '../shared/rpc/duplex.js'
import { RpcError } from '../shared/rpc/errors.js'
import { transformer } from '../shared/rpc/json/transformer.js'
import type { CallType } from '../shared/rpc/messages.js'
import { formatVersion } from '../shared/rpc/version.js'
import { createDuplexClient } from './rpc/client.js'
import { type Connection, type ConnectOptions, connect } from './rpc/connection.js'
import type { TRPCClient } from './rpc/trpc-internals.js'

/** Options of a client, wherever the control plane is. */
export interface ClientOptions {
  /** default deadline of a call, in milliseconds; default 30 s */
  callTimeoutMs?: number
  /** takes errors that belong to no call, such as failed dials; dropped by default */
  onError?: (error: Error) => void
  /** takes each call when it has ended, for metrics: `createBridgeMetrics().callEnded` fits */
  onCallEnd?: (end: CallEnd) => void
}

/** Options of a client whose control plane is in this process. */
export interface LocalControlPlane extends ClientOptions {
  /**
   * returns a fresh duplex for each dial, for instance `() => server.connectInMemory({ identity })`
   */
  dial: ConnectOptions['dial']
}

/**
 * A client of the control plane: the typed stubs of the routers on one connection. Procedures are called as those of
 * `createTRPCClient`: `client.recorder.recordTokenUsage.mutate(record)`. A failed call rejects
 * with a TRPCClientError whose `data` holds `code`, `reason` and `mayHaveRun`.
 */
export type BridgeClient = Pick<
  TRPCClient<AppRouter>,
  'recorder' | 'authorizer' | 'mcpConfigurator' | 'conversations' | 'providerConfigurator' | 'chats' | 'admin'
> & {
  /** the connection below the stubs */
  readonly connection: Connection
  /** Resolves with the reason when the connection is closed for good. */
  readonly closed: Promise<CloseReason>
  /**
   * Closes the connection for good: calls in flight fail with `connection_closed`. Resolves when the duplex is closed.
   */
  close(): Promise<CloseReason>
}

/**
 * Idempotent procedures, most of them whole routers: a call without a response may be sent again. Of chats those that
 * name an id which their caller has made: an interrupt that comes late would end another turn.
 */
const idempotent = [
  /^(recorder|authorizer|mcpConfigurator|conversations|providerConfigurator)\./,
  /^chats\.(create|send|edit|dequeue|archive)$/,
  /^admin\.agents\.start$/,
]

/** Returns whether a call without a response may be sent again. */
export function mayResend({ type, path }: { type: CallType; path: string }): boolean {
  return type === 'query' || idempotent.some(pattern => pattern.test(path))
}

/** Connects to a control plane, and reconnects whenever the connection is lost. */
export function connectBridgeClient(
  dial: ConnectOptions['dial'],
  { callTimeoutMs, onError, onCallEnd }: ClientOptions,
): BridgeClient {
  const connection = connect({
    dial,
    ...(callTimeoutMs !== undefined && { callTimeoutMs }),
    ...(onError && { onError }),
    ...(onCallEnd && { onCallEnd }),
    finalCloseCodes,
    resend: mayResend,
  })
  const { recorder, authorizer, mcpConfigurator, conversations, providerConfigurator, chats, admin } =
    createDuplexClient<AppRouter>({ connection, transformer })
  return {
    recorder,
    authorizer,
    mcpConfigurator,
    conversations,
    providerConfigurator,
    chats,
    admin,
    connection,
    closed: connection.closed,
    close: () => connection.close(),
  }
}

/**
 * Returns the URL of a control plane's WebSockets, with the version of the contract.
 * @param url base URL of the control plane
 * @param path of the WebSockets, below the base URL
 * @throws RpcError `BAD_REQUEST` (config_invalid) for an invalid URL
 */
export function controlPlaneUrl(url: string, path = '/rpc'): URL {
  const target = URL.canParse(url) ? new URL(url) : undefined
  if (target?.protocol !== 'http:' && target?.protocol !== 'https:') {
    throw invalid('the URL of the control plane must begin with http:// or https://')
  }
  target.protocol = target.protocol === 'https:' ? 'wss:' : 'ws:'
  target.pathname = `${target.pathname.replace(/\/$/, '')}${path}`
  target.searchParams.set('version', formatVersion(apiVersion))
  return target
}

/**
 * Returns the value of `authorization` for a key.
 * @throws RpcError `BAD_REQUEST` (config_invalid) for a key that no header can carry
 */
export function bearer(key: string): string {
  if (/^[\x21-\x7e]{1,512}$/.test(key)) return `Bearer ${key}`
  throw invalid('the key must be printable ASCII without spaces')
}

/** Returns the error for an option that breaks a rule. */
export function invalid(message: string): RpcError {
  return new RpcError('BAD_REQUEST', message, { reason: 'config_invalid' })
}
