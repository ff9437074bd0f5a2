/** The WebSockets and the ACP path of a control plane that listens: who may come in, and as whom. */
import type { IncomingMessage, RequestListener } from 'node:http'
import { peerLimits } from '../../shared/contract/limits.js'
import { apiVersion } from '../../shared/contract/version.js'
import type { CallEnd } from '../../shared/rpc/call-end.js'
import { createAddressReader } from '../../shared/values/client-address.js'
import type { Logger } from '../../shared/values/log.js'
import { networkOf } from '../../shared/values/network-of.js'
import type { AcpListener } from '../acp/serve-acp.js'
import { requestedUrl } from '../http/home-page.js'
import type { HttpFront } from '../http/http-front.js'
import { acpPath, agentPath, peerPath, rpcPath } from '../http/http-routes.js'
import type { ServerMetrics } from '../metrics/metrics.js'
import { appRouter } from '../routers/app.js'
import { type PeerContext, peerRouter } from '../routers/peer.js'
import type { Context } from '../routers/trpc.js'
import type { ConnectionGroup } from '../rpc/connection-group.js'
import type { ConnectionInfo } from '../rpc/context-handshake.js'
import type { ErrorReport } from '../rpc/responses.js'
import type { Credentials } from '../rpc/upgrade/listener-options.js'
import { serveWebSockets } from '../rpc/upgrade/websocket-listener.js'
import type { HeldAgents } from '../services/agent-hosts.js'
import type { LiveParts } from '../services/chats/live-parts.js'
import type { Identity } from '../services/identity.js'
import type { SecretBox } from '../services/secrets.js'
import type { Services } from '../services/services.js'
import type { ChangeStore } from '../store/store.js'
import { serveChats } from './acp/serve-chats.js'
import type { AgentLinks } from './agent-links.js'
import {
  agentInstanceOf,
  buildVersionOf,
  createAgentAuthenticator,
  createAuthenticator,
  createUserAuthenticator,
} from './authenticate.js'
import { guardAuthenticator } from './guarded-authenticator.js'
import { KeyWatch } from './key-watch.js'
import { createPeerAuthenticator } from './peers/peer-token.js'
import type { ReplicaPresence } from './peers/replica.js'
import type { BridgeServerConfig } from './server-config.js'
import { UserPlaces } from './user-places.js'

/** The parts of a control plane behind its doors. */
export interface DoorsOptions {
  store: ChangeStore
  config: BridgeServerConfig
  group: ConnectionGroup
  services: Services
  secrets: SecretBox
  replica: ReplicaPresence
  /** undefined: no agent may connect */
  agentLinks: AgentLinks | undefined
  /** the agents that other servers may call here */
  heldAgents: HeldAgents
  /** the live parts that other servers may follow here */
  liveParts: LiveParts
  contextOf(identity: Identity, connection: Pick<ConnectionInfo, 'signal'>): Context
  onError(report: ErrorReport): void
  logger: Logger
  metrics: ServerMetrics | undefined
}

/** The doors, which are open from {@link Doors.open} on, until the connection group closes. */
export class Doors {
  /** the paths that take WebSockets */
  readonly paths: readonly string[]
  readonly #options: DoorsOptions
  readonly #daemonKeys: KeyWatch
  readonly #userKeys: KeyWatch
  readonly #places = new UserPlaces()
  #acp: AcpListener | undefined

  constructor(options: DoorsOptions) {
    const { store, config, services, replica, agentLinks, logger } = options
    const heartbeat = config.heartbeatMs === undefined ? {} : { intervalMs: config.heartbeatMs }
    this.#options = options
    this.paths = [rpcPath, acpPath, ...(agentLinks ? [agentPath] : []), ...(replica.isAdvertised ? [peerPath] : [])]
    this.#daemonKeys = new KeyWatch({
      findInvalid: services.daemonKeys.checkConnected,
      onChange: listener => store.onChange('daemon_keys', listener),
      logger,
      ...heartbeat,
    })
    this.#userKeys = new KeyWatch({
      findInvalid: services.userKeys.findInvalid,
      onChange: listener => store.onChange('user_keys', listener),
      logger,
      ...heartbeat,
    })
  }

  /** Serves a request of `/acp`, once the doors are open. */
  readonly acp: RequestListener = (request, response) => this.#acp?.handle(request, response)

  /** Accepts connections. */
  open(front: HttpFront): void {
    const { agentLinks, replica } = this.#options
    if (agentLinks) this.#openAgents(front, agentLinks)
    if (replica.isAdvertised) this.#openPeers(front)
    this.#acp = this.#openChats(front)
    this.#openRpc(front)
  }

  /** Ends the watch over keys. The group has closed the connections. */
  stop(): void {
    this.#daemonKeys.stop()
    this.#userKeys.stop()
  }

  #openAgents(front: HttpFront, agentLinks: AgentLinks): void {
    const { services, onError, metrics } = this.#options
    const authenticate = this.#guarded(createAgentAuthenticator(services.agentKeys))
    serveWebSockets({
      ...this.#listening(front),
      path: agentPath,
      authenticate,
      onDuplex: (duplex, { identity, request, signal }) =>
        agentLinks.accept(duplex, {
          ...identity,
          instance: agentInstanceOf(request),
          buildVersion: buildVersionOf(request),
          signal,
        }),
      onError,
      ...(metrics && { onRejected: metrics.connectionRejected }),
    })
  }

  #openPeers(front: HttpFront): void {
    const { secrets, replica, heldAgents, liveParts, onError, metrics } = this.#options
    serveWebSockets({
      ...this.#listening(front),
      path: peerPath,
      router: peerRouter,
      connectionParams: 'rejected',
      authenticate: this.#guarded(createPeerAuthenticator({ keys: secrets, replica: replica.id })),
      createContext: (): PeerContext => ({ heldAgents, liveParts }),
      limits: { maxInFlight: peerLimits.maxInFlight, maxSubscriptions: peerLimits.maxSubscriptions },
      maxConnections: peerLimits.maxConnections,
      onError,
      ...(metrics && observersOf(metrics, peerRouter._def.procedures, 'peer.')),
    })
  }

  #openChats(front: HttpFront): AcpListener {
    const { config, group, services, replica, logger, metrics } = this.#options
    return serveChats({
      server: front.server,
      path: acpPath,
      group,
      chats: services.chats,
      chatWatch: services.chatWatch,
      defaults: config.acpDefaults ?? { provider: 'demo', model: 'demo' },
      authenticate: this.#guarded(createUserAuthenticator(services.userKeys)),
      places: this.#places,
      watchKey: (keyId, connection) => this.#userKeys.add(keyId, connection),
      allowedOrigins: config.allowedOrigins ?? [],
      replicaId: replica.id,
      buildVersion: config.buildVersion ?? '0.0.0',
      onHttp2Socket: front.release,
      logger,
      ...(metrics && { observer: metrics.acp }),
    })
  }

  #openRpc(front: HttpFront): void {
    const { config, services, contextOf, onError, metrics } = this.#options
    const authenticate = this.#guarded(createAuthenticator(config.adminToken, services.daemonKeys, services.userKeys))
    serveWebSockets({
      ...this.#listening(front),
      path: rpcPath,
      router: appRouter,
      // Pages of this server: a page of another origin, such as a site that a person visits, gets no connection.
      allowedOrigins: (origin, request) => origin === requestedUrl(request, front.url),
      authenticate: async credentials => {
        const identity = await authenticate(credentials)
        if (identity.role === 'user') this.#places.check(identity.userId)
        return identity
      },
      createContext: ({ identity, close, signal }): Context => {
        if (identity.role === 'user') {
          this.#places.take(identity.userId, signal)
          this.#userKeys.add(identity.apiKeyId, { close, signal })
        }
        if (identity.role === 'daemon' && identity.daemonKeyId !== undefined) {
          this.#daemonKeys.add(identity.daemonKeyId, { close, signal })
        }
        return contextOf(identity, { signal })
      },
      onError,
      ...(metrics && observersOf(metrics, appRouter._def.procedures)),
    })
  }

  #listening({ server }: HttpFront) {
    const { config, group } = this.#options
    const readAddress = createAddressReader(config.trustedProxies ?? [])
    return {
      server,
      otherUpgrades: 'leave',
      group,
      version: apiVersion,
      addressOf: (request: IncomingMessage) => networkOf(readAddress(request) ?? ''),
      ...(config.heartbeatMs !== undefined && { pingIntervalMs: config.heartbeatMs }),
    } as const
  }

  #guarded<I>(authenticate: (credentials: Credentials) => Promise<I>) {
    const { config, logger } = this.#options
    return guardAuthenticator(authenticate, { trustedProxies: config.trustedProxies ?? [], logger })
  }
}

/**
 * Counts the calls of a router, and its rejections. A path comes from the peer, and made-up paths must not become
 * labels of a metric.
 */
export function observersOf({ callEnded, connectionRejected }: ServerMetrics, procedures: object, prefix = '') {
  return {
    onCallEnd: (end: CallEnd) =>
      callEnded({ ...end, path: Object.hasOwn(procedures, end.path) ? `${prefix}${end.path}` : 'unknown' }),
    onRejected: connectionRejected,
  }
}
