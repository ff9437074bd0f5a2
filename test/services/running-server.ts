import { inspect } from 'node:util'
import { afterAll, afterEach, beforeAll } from 'vitest'
import { type BridgeClient, createBridgeClient } from '../../client/bridge-client.js'
import { type BridgeServer, type BridgeServerConfig, createBridgeServer } from '../../server/server.js'
import type { Identity } from '../../server/services/identity.js'
import type { Store } from '../../server/store/store.js'
import { errorCodeOf, errorReasonOf } from '../../shared/errors.js'
import type { Logger } from '../../shared/log.js'
import { openTemporaryStore } from '../fixtures/stores.js'

export const adminToken = 'admin-token-of-the-tests'
export const daemon: Identity = { role: 'daemon', name: 'embedded', delegate: true }
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

/** One store for all tests of a file: what they write must not meet. */
export function oneStore(): () => Store {
  let store: Store | undefined
  beforeAll(async () => {
    store = await openTemporaryStore()
  })
  afterAll(() => store?.close())
  return () => {
    if (!store) throw new Error('the store is open only while tests run')
    return store
  }
}

const opened: (() => Promise<unknown>)[] = []

export interface Running {
  server: BridgeServer
  logger: ReturnType<typeof recordingLogger>
  connect(identity: Identity): BridgeClient
}

/** A server on `store`; it and its clients are closed after the test. */
export async function startServer(store: Store, config: Partial<BridgeServerConfig> = {}): Promise<Running> {
  const logger = recordingLogger()
  const server = await createBridgeServer({
    store,
    logger,
    config: { adminToken, encryptionKeys: [new Uint8Array(32).fill(7)], ...config },
  })
  opened.push(() => server.close({ graceMs: 1_000 }))
  return {
    server,
    logger,
    connect(identity) {
      const client = createBridgeClient({ dial: () => server.connectInMemory({ identity }) })
      opened.push(() => client.close())
      return client
    },
  }
}

afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close()
})

/** What a call was refused with. */
export interface Refused {
  code: string | undefined
  reason: string | undefined
  message: string
}

export async function refusalOf(call: Promise<unknown>): Promise<Refused> {
  try {
    await call
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    return { code: errorCodeOf(error), reason: errorReasonOf(error), message }
  }
  throw new Error('the call was not refused')
}

/** A promise and what settles it. Node 20 has no Promise.withResolvers. */
export function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>(settle => {
    resolve = settle
  })
  return { promise, resolve }
}
