import { inspect } from 'node:util'
import { afterAll, beforeAll, onTestFinished } from 'vitest'
import { connectAgent } from '../../../client/agent-connection.js'
import { type BridgeClient, createBridgeClient, dialRemote } from '../../../client/bridge-client.js'
import type { ConnectOptions } from '../../../client/rpc/connection.js'
import { type BridgeServer, createBridgeServer } from '../../../server/control-plane/server.js'
import type { BridgeServerConfig } from '../../../server/control-plane/server-config.js'
import type { ServerMetrics } from '../../../server/metrics/metrics.js'
import { generateApiKey, hashSecret } from '../../../server/services/api-key.js'
import type { DaemonIdentity, Identity } from '../../../server/services/identity.js'
import type { Store } from '../../../server/store/store.js'
import { errorReasonOf } from '../../../shared/contract/error-reasons.js'
import { errorCodeOf } from '../../../shared/rpc/errors.js'
import type { Logger } from '../../../shared/values/log.js'
import { openTemporaryStore, stores } from '../../fixtures/stores.js'

export const adminToken = 'admin-token-of-the-tests'
export const daemon: DaemonIdentity = { role: 'daemon', name: 'embedded', delegate: true }
export const admin: Identity = { role: 'admin', name: 'admin' }

export interface LogLine {
  level: 'debug' | 'info' | 'warn' | 'error'
  fields: object
  message: string
}

/** A logger that keeps every line. */
export function recordingLogger(): Logger & { lines: LogLine[]; text(): string } {
  const lines: LogLine[] = []
  const at = (level: LogLine['level']) => (fields: object, message: string) => {
    lines.push({ level, fields, message })
  }
  return {
    lines,
    text: () => inspect(lines, { depth: 20, maxStringLength: null, maxArrayLength: null, showHidden: true }),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
  }
}

/** Which store a server has, and how its clients come to it. */
export interface Deployment {
  name: string
  open(): Promise<Store>
  link: 'memory' | 'WebSocket'
}

/** Both links × both stores: every test of the service runs on each row. */
export const deployments: readonly Deployment[] = stores.flatMap(({ name, open }) => [
  { name: `in memory, ${name}`, open, link: 'memory' as const },
  { name: `over a WebSocket, ${name}`, open, link: 'WebSocket' as const },
])

/** One store for all tests of a file or of a row: what they write must not meet. */
export function oneStore({ open }: Pick<Deployment, 'open'> = { open: openTemporaryStore }): () => Store {
  let store: Store | undefined
  beforeAll(async () => {
    store = await open()
  })
  afterAll(() => store?.close())
  return () => {
    if (!store) throw new Error('the store is open only while tests run')
    return store
  }
}

export interface Running {
  server: BridgeServer
  logger: ReturnType<typeof recordingLogger>
  connect(identity: Identity): BridgeClient
}

/** A server on `store`; it and its clients are closed after the test. */
export async function startServer(
  store: Store,
  config: Partial<BridgeServerConfig> = {},
  { link }: Pick<Deployment, 'link'> = { link: 'memory' },
  metrics?: ServerMetrics,
): Promise<Running> {
  const logger = recordingLogger()
  const server = await createBridgeServer({
    store,
    logger,
    connectAgent,
    config: { adminToken, encryptionKeys: [new Uint8Array(32).fill(7)], ...config },
    ...(metrics && { metrics }),
  })
  onTestFinished(async () => void (await server.close({ graceMs: 1_000 })))
  return {
    server,
    logger,
    connect(identity) {
      const client = createBridgeClient({ dial: dials[link](server, store, identity) })
      onTestFinished(async () => void (await client.close()))
      return client
    },
  }
}

type Dial = ConnectOptions['dial']

const dials: Record<Deployment['link'], (server: BridgeServer, store: Store, identity: Identity) => Dial> = {
  memory: (server, _store, identity) => () => server.connectInMemory({ identity }),
  WebSocket(server, store, identity) {
    let dial: Promise<Dial> | undefined
    const daemonInstance = identity.role === 'daemon' ? identity.daemonInstance : undefined
    const prepare = async () =>
      dialRemote({
        url: await urlOf(server),
        key: await keyOf(store, identity),
        ...(daemonInstance !== undefined && { daemonInstance }),
      })
    return async info => {
      dial ??= prepare()
      return (await dial)(info)
    }
  },
}

const urls = new WeakMap<BridgeServer, Promise<string>>()

/** Where the server listens, from the first time that somebody asks. */
function urlOf(server: BridgeServer): Promise<string> {
  const url = urls.get(server) ?? server.listen({ host: '127.0.0.1', port: 0 }).then(listening => listening.url)
  urls.set(server, url)
  return url
}

/** A key with which the server takes a client for this identity. */
async function keyOf(store: Store, identity: Identity): Promise<string> {
  if (identity.role === 'admin') return adminToken
  if (identity.role === 'user') throw new Error('a user comes with a key of the store: see apiKeys.create')
  const { name, delegate, daemonKeyId } = identity
  // A daemon that names a key comes with the same key each time.
  const { id, secret } = daemonKeyId === undefined ? generateApiKey() : { id: daemonKeyId, secret: 's'.repeat(22) }
  await store.createDaemonKey({ id, name, delegate, expiresAt: null, secretHash: hashSecret(secret) })
  return `${id}-${secret}`
}

/** The code, reason and message of a rejected call. */
export interface Rejected {
  code: string | undefined
  reason: string | undefined
  message: string
}

export async function rejectionOf(call: Promise<unknown>): Promise<Rejected> {
  try {
    await call
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    return { code: errorCodeOf(error), reason: errorReasonOf(error), message }
  }
  throw new Error('the call was not rejected')
}

/** A promise and what settles it. Node 20 has no Promise.withResolvers. */
export function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>(settle => {
    resolve = settle
  })
  return { promise, resolve }
}
