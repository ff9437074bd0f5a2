/** The control plane: its services, behind every link. */
import { type Duplex, memoryDuplexPair } from '../shared/duplex.js'
import { errorReasonOf, RpcError } from '../shared/errors.js'
import { times } from '../shared/limits.js'
import type { Logger } from '../shared/log.js'
import { type HttpFront, openHttpFront } from './http-front.js'
import { createRoutes, demoMount, type MountedBridge } from './http-routes.js'
import { appRouter } from './routers/app.js'
import type { Context } from './routers/trpc.js'
import type { ErrorReport } from './rpc/answers.js'
import { serveDuplex } from './rpc/connection.js'
import { type CloseResult, ConnectionGroup } from './rpc/connection-group.js'
import type { Identity } from './services/identity.js'
import { createSecretBox } from './services/secrets.js'
import { createServices } from './services/services.js'
import type { Store } from './store/store.js'

export interface BridgeServerConfig {
  /** what `Authorization: Bearer` must hold on `/rpc/` */
  adminToken: string
  /** 32 bytes each; the first seals secrets, all open them */
  encryptionKeys: readonly Uint8Array[]
  /** each record is also a log line `interception log`; default false */
  structuredLogging?: boolean
}

export interface BridgeServerOptions {
  /** stays the caller's, who closes it after the server */
  store: Store
  config: BridgeServerConfig
  logger: Logger
}

export interface ListenOptions {
  host: string
  /** 0: any free port */
  port: number
  /** mounted at `/bridge/` */
  bridge?: MountedBridge
}

export interface BridgeServer {
  /**
   * Serves one more connection inside this process and gives its client end. The identity is not checked: whoever calls this is trusted.
   * @throws RpcError `SERVICE_UNAVAILABLE` (draining) once `close()` was called
   */
  connectInMemory(options: { identity: Identity }): Duplex
  /**
   * Listens for HTTP; `url` is where this machine reaches it.
   * @throws RpcError `PRECONDITION_FAILED` (port_in_use, or if it listens already); `SERVICE_UNAVAILABLE` (draining) once `close()` was
   * called; any other error of the operating system as Node gives it
   */
  listen(options: ListenOptions): Promise<{ url: string }>
  /**
   * Refuses new connections and calls, lets calls and HTTP requests in flight end, and cuts what is left after `graceMs` (default 30 s).
   * Resolves when nothing is left; a second call gets the same promise. A bridge that is mounted here is closed first, by its owner: what
   * it records while it ends still needs this server.
   */
  close(options?: { graceMs?: number }): Promise<CloseResult>
}

/**
 * Makes a server. A database that was never seeded gets the provider `demo`.
 * @throws RangeError for an encryption key that has not 32 bytes; what the store rejects with
 */
export async function createBridgeServer({ store, config, logger }: BridgeServerOptions): Promise<BridgeServer> {
  if (config.adminToken === '') {
    throw new RpcError('BAD_REQUEST', 'adminToken: must not be empty', { reason: 'config_invalid' })
  }
  const group = new ConnectionGroup()
  let front: HttpFront | undefined
  let opening = false
  let closing: Promise<CloseResult> | undefined
  const services = createServices({
    store,
    secrets: createSecretBox(config.encryptionKeys),
    logger,
    ownUrl: () => front?.url,
    structuredLogging: config.structuredLogging ?? false,
  })
  const onError = (report: ErrorReport) => logFailedCall(logger, report)

  await store.seedProviders([
    { name: 'demo', type: 'anthropic', enabled: true, baseUrl: demoMount, settings: null, keys: [] },
  ])

  async function shutDown(graceMs: number): Promise<CloseResult> {
    const [calls, requests] = await Promise.all([group.close({ graceMs }), front?.close(graceMs)])
    return {
      drained: calls.drained + (requests?.drained ?? 0),
      aborted: calls.aborted + (requests?.aborted ?? 0),
    }
  }

  return {
    connectInMemory({ identity }) {
      const context: Context = { identity, services }
      const [serverEnd, clientEnd] = memoryDuplexPair()
      serveDuplex({ duplex: serverEnd, router: appRouter, createContext: () => context, group, onError })
      return clientEnd
    },

    async listen({ host, port, bridge }) {
      if (closing) throw draining()
      if (front || opening) {
        throw new RpcError('PRECONDITION_FAILED', `the server listens already${front ? ` at ${front.url}` : ''}`)
      }
      const listener = createRoutes({
        services,
        adminToken: config.adminToken,
        bridge,
        ping: () => store.ping(),
        isClosing: () => closing !== undefined,
        onError,
        logger,
      })
      opening = true
      try {
        front = await openHttpFront({ host, port, listener, logger })
      } finally {
        opening = false
      }
      // close() came while the port was being opened, and could not know of it.
      if (closing) {
        await front.close(0)
        throw draining()
      }
      return { url: front.url }
    },

    close({ graceMs = times.graceMs } = {}) {
      closing ??= shutDown(graceMs)
      return closing
    },
  }
}

function draining(): RpcError {
  return new RpcError('SERVICE_UNAVAILABLE', 'the server is closing', { reason: 'draining', mayHaveRun: false })
}

/** A fault of ours is logged with its cause and stack, which the peer never sees; an answer that the contract foresees is no news. */
function logFailedCall(logger: Logger, { error, requestId, type, path }: ErrorReport): void {
  const fields = { requestId, type, path, code: error.code, reason: errorReasonOf(error.cause) }
  if (error.code !== 'INTERNAL_SERVER_ERROR') logger.debug(fields, 'a call was refused')
  else logger.error({ ...fields, err: error.cause ?? error }, 'a call failed')
}
