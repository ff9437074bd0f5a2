import type { AppRouter } from '../server/routers/app.js'
import type { CloseReason, Duplex } from '../shared/duplex.js'
import { transformer } from '../shared/transformer.js'
import { createDuplexClient } from './rpc/client.js'
import { type Connection, connect } from './rpc/connection.js'
import type { TRPCClient } from './rpc/trpc-internals.js'

export interface BridgeClientOptions {
  /** a fresh duplex to the control plane each time, for instance `() => server.connectInMemory({ identity })` */
  dial: (info: { signal: AbortSignal }) => Duplex | Promise<Duplex>
  /** deadline of a call that names none; default 30 s */
  callTimeoutMs?: number
  onError?: (error: Error) => void
}

/** The control plane's routers, typed, on one connection. */
export type BridgeClient = Pick<TRPCClient<AppRouter>, 'recorder' | 'authorizer' | 'providerConfigurator' | 'admin'> & {
  readonly connection: Connection
  /** Resolves with the cause once the connection is closed for good. */
  readonly closed: Promise<CloseReason>
  close(): Promise<CloseReason>
}

/** The routers whose procedures are all idempotent, so that a call whose answer was lost may be repeated. */
const idempotent = /^(recorder|authorizer|mcpConfigurator|providerConfigurator)\./

/** Connects to a control plane. Calls in flight when the connection is lost are sent again, but for those of `admin`. */
export function createBridgeClient(options: BridgeClientOptions): BridgeClient {
  const connection = connect({ ...options, resend: call => call.type === 'query' || idempotent.test(call.path) })
  const { recorder, authorizer, providerConfigurator, admin } = createDuplexClient<AppRouter>({
    connection,
    transformer,
  })
  return {
    recorder,
    authorizer,
    providerConfigurator,
    admin,
    connection,
    closed: connection.closed,
    close: () => connection.close(),
  }
}
