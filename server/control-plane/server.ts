/** The control plane: its services, behind every link. */
import { errorReasonOf, rpcError } from '../../shared/contract/error-reasons.js'
import { uuid } from '../../shared/contract/fields.js'
import { closeCodes, type Duplex } from '../../shared/rpc/duplex.js'
import { RpcError } from '../../shared/rpc/errors.js'
import { times } from '../../shared/rpc/limits.js'
import { memoryDuplexPair } from '../../shared/rpc/links/memory-duplex.js'
import { type Logger, silentLogger } from '../../shared/values/log.js'
import { createHomePage } from '../http/home-page.js'
import { type HttpFront, openHttpFront } from '../http/http-front.js'
import { createRoutes, forThisMachine, type MountedBridge } from '../http/http-routes.js'
import type { ServerMetrics } from '../metrics/metrics.js'
import { appRouter } from '../routers/app.js'
import type { Context } from '../routers/trpc.js'
import { serveDuplex } from '../rpc/connection.js'
import { type CloseResult, ConnectionGroup } from '../rpc/connection-group.js'
import type { ConnectionInfo } from '../rpc/context-handshake.js'
import { groupedDuplex } from '../rpc/grouped-duplex.js'
import type { ErrorReport } from '../rpc/responses.js'
import { seedRow } from '../services/admin/providers/provider-seeds.js'
import { createRetention } from '../services/admin/records/retention.js'
import { noAgents } from '../services/agent-hosts.js'
import { createChatKeys } from '../services/chats/chat-keys.js'
import { Episodes } from '../services/chats/episodes.js'
import type { ChatModels } from '../services/chats/model.js'
import { createRunChanges } from '../services/chats/run-changes.js'
import { ChatRunner } from '../services/chats/runner/chat-runner.js'
import type { Identity } from '../services/identity.js'
import { createSecretBox } from '../services/secrets.js'
import { createServices } from '../services/services.js'
import { unknownRow } from '../services/unknown-row.js'
import type { Store } from '../store/store.js'
import { AgentCalls } from './agent-calls.js'
import { AgentLinks, type ConnectAgent } from './agent-links.js'
import { createDemoProvider } from './demo-provider.js'
import { Doors, observersOf } from './doors.js'
import { checkEncryptionKeys } from './encryption-keys.js'
import { type ConnectPeer, PeerLinks } from './peers/peer-links.js'
import { createPeerToken } from './peers/peer-token.js'
import { RelayedParts } from './peers/relayed-parts.js'
import { ReplicaPresence } from './peers/replica.js'
import type { BridgeServerConfig } from './server-config.js'
import { storeStateReader } from './store-state.js'

/** The base URL of the provider `demo`, on this server. */
const demoMount = '/demo'

/** A store, the settings, and the observers of a control plane. */
export interface BridgeServerOptions {
  /** owned by the caller, who closes the store after the server */
  store: Store
  config: BridgeServerConfig
  /** default: no log */
  logger?: Logger
  /** counts the server's work, and is shown at `/metrics`; default: no counts and no such path */
  metrics?: ServerMetrics
  /** calls agents that come by `/agent`: `connectAgent` of `aibridge/client`; default: no agent may connect */
  connectAgent?: ConnectAgent
  /** calls other servers of the database: `connectPeer` of `aibridge/client`; default: none is called */
  connectPeer?: ConnectPeer
}

/** The address on which a control plane listens. */
export interface ListenOptions {
  host: string
  /** 0: any free port */
  port: number
  /** mounted at `/bridge/` and `/mcp/` */
  bridge?: MountedBridge
}

/** The chats that a server runs. */
export interface RunningChats {
  /**
   * Takes no more chats, waits for the steps under way, at most `graceMs`, and leaves chats that are not at rest to the
   * other servers. A second call returns the same promise.
   */
  close(options: { graceMs: number }): Promise<void>
}

/** A running control plane. Its functions may be called unbound. */
export interface BridgeServer {
  /**
   * Serves one more connection inside this process and returns the client end. The identity is not checked: the caller
   * is trusted.
   * @throws RpcError `BAD_REQUEST` if `identity.daemonInstance` is no UUID; `SERVICE_UNAVAILABLE` (draining) after a
   *   call of `close()`
   */
  connectInMemory(options: { identity: Identity }): Duplex
  /**
   * Connects a workspace agent of this process and returns its end, over which the agent serves `processRouter`: a
   * `dial` for `serveDial`. The caller is trusted, and needs no key. Revoking the agent, or another process of the
   * agent, closes the duplex.
   * @param options.agent id or name
   * @param options.instanceId the process of the agent: `info()` of its processes
   * @throws RpcError `NOT_FOUND` (unknown_row) for an unknown or revoked agent; `SERVICE_UNAVAILABLE` (draining) after
   *   a call of `close()`; `PRECONDITION_FAILED` on a server without `connectAgent`; `BAD_REQUEST` if `instanceId` is
   *   no UUID
   */
  connectAgentInMemory(options: { agent: string; instanceId: string }): Promise<Duplex>
  /**
   * Listens for HTTP and, at `/rpc`, `/agent` and `/peer`, for WebSockets; `url` is the address from this machine.
   * @throws RpcError `PRECONDITION_FAILED` (port_in_use, or if the server listens already); `SERVICE_UNAVAILABLE`
   *   (draining) after a call of `close()`; `BAD_REQUEST` (config_invalid) for a host that is not of this machine; any
   *   other error of the operating system as Node throws it
   */
  listen(options: ListenOptions): Promise<{ url: string }>
  /**
   * Begins to run chats with models, which call AI providers through the bridge of this process: `createChatModels` of
   * `aibridge/client`. Without it chats wait for another server, and so they do if no content is recorded. The owner
   * closes the returned runner before the server, and not behind the bridge.
   * @throws RpcError `PRECONDITION_FAILED` if the server runs chats already; `SERVICE_UNAVAILABLE` (draining) after a
   *   call of `close()`
   */
  runChats(options: { models: ChatModels }): RunningChats
  /**
   * Rejects new connections and calls, lets calls and HTTP requests in flight end, and cuts the rest after `graceMs`
   * (default 30 s). Resolves when nothing is left; a second call returns the same promise. The owner of a mounted
   * bridge closes the bridge first: the bridge's last records still need this server.
   */
  close(options?: { graceMs?: number }): Promise<CloseResult>
}

/**
 * Creates a server. A database that was never seeded gets the provider `demo`.
 * @throws RpcError `BAD_REQUEST` (config_invalid) for an empty admin token, and for encryption keys that open none of
 *   the secrets in the database; RangeError for an encryption key of another length than 32 bytes; the store's
 *   rejections
 */
export async function createBridgeServer({
  store,
  config,
  logger = silentLogger,
  metrics,
  connectAgent,
  connectPeer,
}: BridgeServerOptions): Promise<BridgeServer> {
  if (config.adminToken === '') {
    throw new RpcError('BAD_REQUEST', 'adminToken: must not be empty', { reason: 'config_invalid' })
  }
  const secrets = createSecretBox(config.encryptionKeys)
  await checkEncryptionKeys(store, secrets, config.encryptionKeysSource ?? 'encryptionKeys')
  const group = new ConnectionGroup()
  let front: HttpFront | undefined
  let opening = false
  let closing: Promise<CloseResult> | undefined
  const heartbeat = config.heartbeatMs === undefined ? {} : { intervalMs: config.heartbeatMs }
  const replica = new ReplicaPresence({ store, logger, advertiseUrl: config.advertiseUrl })
  const agentLinks =
    connectAgent && new AgentLinks({ store, replica: replica.id, group, connectAgent, logger, ...heartbeat })
  const peers =
    connectPeer &&
    new PeerLinks({
      connectPeer,
      createToken: target => createPeerToken(secrets, target),
      logger,
      onCallEnd: metrics?.peerCallEnded,
    })
  const agentCalls =
    agentLinks && new AgentCalls({ store, links: agentLinks, peers, replica: replica.id, group, logger })
  const episodes = new Episodes()
  let chatRunner: ChatRunner | undefined
  const relayed =
    peers && new RelayedParts({ store, peers, onPart: metrics && (() => metrics.chatEvent('relayed_part')) })
  const readStoreState = storeStateReader(store, logger)
  const services = createServices({
    store,
    isStoreWritable: async () => (await readStoreState()) === 'ok',
    secrets,
    logger,
    ...(agentCalls && { agentHosts: agentCalls }),
    livePartsOf: runner => (runner === replica.id ? episodes : relayed?.of(runner)),
    ownUrl: () => front?.url,
    structuredLogging: config.structuredLogging ?? false,
    recordsContent: config.recordsContent ?? true,
    onChatInterrupt: chat => chatRunner?.interrupted(chat),
    ...(metrics && { onAbandoned: metrics.interceptionsAbandoned, onUnpriced: metrics.recordUnpriced }),
    ...(config.interceptionAbandonedAfterMs !== undefined && {
      interceptionAbandonedAfterMs: config.interceptionAbandonedAfterMs,
    }),
    ...(config.rotateKeys && { rotateKeys: config.rotateKeys }),
  })
  const onError = (report: ErrorReport) => logFailedCall(logger, report)
  const observers = metrics ? observersOf(metrics, appRouter._def.procedures) : {}
  metrics?.watchGroup(group)
  if (peers) metrics?.watchPeers(peers)
  const retention = createRetention({ store, logger, retentionDays: config.retentionDays ?? 0 })

  await store.seedProviders([
    { name: 'demo', type: 'anthropic', enabled: true, baseUrl: demoMount, settings: null, keys: [] },
    ...(config.seeds ?? []).map(seed => seedRow(seed, secrets)),
  ])
  retention.start()
  services.abandonmentSweep.start()

  function contextOf(identity: Identity, connection: Pick<ConnectionInfo, 'signal'>): Context {
    if (identity.role === 'daemon' && identity.daemonInstance !== undefined) {
      const { daemonInstance, daemonKeyId = null } = identity
      services.presence.add({ daemonInstance, daemonKeyId }, connection.signal)
    }
    return { identity, services }
  }

  const doors = new Doors({
    store,
    config,
    group,
    services,
    secrets,
    replica,
    agentLinks,
    heldAgents: agentCalls ?? noAgents,
    liveParts: episodes,
    contextOf,
    onError,
    logger,
    metrics,
  })

  async function shutDown(graceMs: number): Promise<CloseResult> {
    const [calls, requests] = await Promise.all([
      group.close({ graceMs }),
      front?.close(graceMs),
      replica.stop(),
      retention.stop(),
      services.abandonmentSweep.stop(),
    ])
    doors.stop()
    services.priceBook.stop()
    await chatRunner?.close({ graceMs: 0 })
    episodes.close()
    agentCalls?.stop()
    await Promise.all([agentLinks?.stop(), peers?.close()])
    await services.presence.stop()
    await services.keyUse.stop()
    return {
      drained: calls.drained + (requests?.drained ?? 0),
      aborted: calls.aborted + (requests?.aborted ?? 0),
    }
  }

  return {
    connectInMemory({ identity }) {
      if (identity.role === 'daemon' && !uuid.optional().safeParse(identity.daemonInstance).success) {
        throw new RpcError('BAD_REQUEST', 'identity.daemonInstance must be a UUID')
      }
      const [serverEnd, clientEnd] = memoryDuplexPair()
      const createContext = (info: ConnectionInfo) => contextOf(identity, info)
      serveDuplex({ duplex: serverEnd, router: appRouter, createContext, group, onError, ...observers })
      return clientEnd
    },

    async connectAgentInMemory({ agent, instanceId }) {
      if (!agentLinks) throw new RpcError('PRECONDITION_FAILED', 'this server was created without connectAgent')
      if (!uuid.safeParse(instanceId).success) throw new RpcError('BAD_REQUEST', 'instanceId must be a UUID')
      const found = await store.findAgent(agent)
      if (!found || found.revokedAt) throw unknownRow('agent', agent)
      const [serverEnd, agentEnd] = memoryDuplexPair()
      const duplex = groupedDuplex(serverEnd, group)
      const lifetime = new AbortController()
      void duplex.closed.then(() => lifetime.abort())
      const { id, name } = found
      try {
        const arrived = { agentId: id, name, instance: instanceId, buildVersion: null, signal: lifetime.signal }
        await agentLinks.accept(duplex, arrived)
      } catch (error) {
        duplex.close({ code: closeCodes.internalError, message: 'the connection could not be noted' })
        throw error
      }
      return agentEnd
    },

    async listen({ host, port, bridge }) {
      if (closing) throw draining()
      if (front || opening) {
        throw new RpcError('PRECONDITION_FAILED', `the server listens already${front ? ` at ${front.url}` : ''}`)
      }
      const demo = createDemoProvider(demoMount, { listCommand: () => front && config.listCommand?.(front.url) })
      const listener = createRoutes({
        mounts: {
          [`${demoMount}/`]: forThisMachine(demo, 'the demo provider serves this machine only'),
          ...(bridge && { '/bridge/': bridge.handler, '/mcp/': bridge.handler }),
        },
        readiness: async () => ({
          store: await readStoreState(),
          bridge: !bridge ? 'none' : bridge.ready() ? 'ok' : 'not ready',
        }),
        acp: doors.acp,
        home: createHomePage(() => front?.url ?? ''),
        isClosing: () => closing !== undefined,
        logger,
        ...(metrics && { metrics: [metrics.text, ...(bridge?.metrics ? [bridge.metrics] : [])] }),
      })
      opening = true
      try {
        front = await openHttpFront({
          host,
          port,
          listener,
          webSocketPaths: doors.paths,
          logger,
        })
      } finally {
        opening = false
      }
      doors.open(front)
      // close() came while the port was being opened, and found no listener to close.
      if (closing) {
        await front.close(0)
        throw draining()
      }
      replica.start()
      return { url: front.url }
    },

    runChats({ models }) {
      if (closing) throw draining()
      if (chatRunner) throw new RpcError('PRECONDITION_FAILED', 'the server runs chats already')
      const runner = new ChatRunner({
        store,
        changes: createRunChanges(store),
        models,
        keys: createChatKeys({ store, authorizer: services.authorizer }),
        hosts: agentCalls ?? noAgents,
        episodes,
        logger,
        runner: replica.id,
        ...(metrics && { onEvent: event => metrics.chatEvent(event) }),
      })
      metrics?.watchChats(() => runner.running)
      chatRunner = runner
      if (config.recordsContent ?? true) runner.start()
      return { close: options => runner.close(options) }
    },

    close({ graceMs = times.graceMs } = {}) {
      closing ??= shutDown(graceMs)
      return closing
    },
  }
}

function draining(): RpcError {
  return rpcError('draining', 'the server is closing', { mayHaveRun: false })
}

/**
 * Logs an internal error with cause and stack, which the peer never sees; errors that the contract foresees are not
 * logged.
 */
function logFailedCall(logger: Logger, { error, requestId, type, path }: ErrorReport): void {
  const fields = { requestId, type, path, code: error.code, reason: errorReasonOf(error.cause) }
  if (error.code !== 'INTERNAL_SERVER_ERROR') logger.debug(fields, 'a call was rejected')
  else logger.error({ ...fields, err: error.cause ?? error }, 'a call failed')
}
