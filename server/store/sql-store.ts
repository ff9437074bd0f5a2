/** The store on any PostgreSQL that kysely can talk to, embedded or not. */
import type { Kysely } from 'kysely'
import { RpcError } from '../../shared/rpc/errors.js'
import { chatStore } from './chats/chats.js'
import { endStore } from './records/ends.js'
import { erasureStore } from './records/erasure.js'
import { feedStore } from './records/feed.js'
import { interceptionStore } from './records/interceptions.js'
import { RecordGroups } from './records/record-groups.js'
import { storeRecords } from './records/records.js'
import type { Changes } from './sql/changes.js'
import { checkReadiness } from './sql/readiness.js'
import type { Database } from './sql/schema.js'
import type { SqlDatabase } from './sql/sql-database.js'
import { isPassing, mayHaveCommitted } from './sql/sql-error.js'
import type { Store, Tables, TransactionTables } from './store.js'
import { agentStore, replicaStore } from './tables/agents.js'
import { apiKeyStore } from './tables/api-keys.js'
import { auditStore, insertAuditEntry } from './tables/audit.js'
import { conversationStore } from './tables/conversations.js'
import { daemonInstanceStore } from './tables/daemon-instances.js'
import { daemonKeyStore } from './tables/daemon-keys.js'
import { outboxErasureStore } from './tables/erasures.js'
import { mcpStore } from './tables/mcp.js'
import { priceStore } from './tables/prices.js'
import { providerStore } from './tables/providers.js'
import { purgeStore } from './tables/purge.js'
import { secretStore } from './tables/secrets.js'
import { shortIdStore } from './tables/short-ids.js'
import { usageStore } from './tables/usage.js'
import { userStore } from './tables/users.js'

/** Longest wait of `close()` for open work: a hanging database must not keep the process from ending. */
const openWorkTimeoutMs = 10_000
/** Longest time for repeats of a repeatable method, while the server restarts or two transactions collide. */
const defaultRepeatForMs = 10_000
const repeatAfterMs = 50
/** Groups of records that are stored side by side, each on a connection of its own. */
const maxLanes = 4

/** Methods that change nothing. An attempt that fails is repeated. */
const reads = new Set<keyof Tables>([
  'listInterceptions',
  'getInterception',
  'readUsage',
  'readUsagePage',
  'holdsUser',
  'readFeed',
  'feedEnd',
  'findUser',
  'findUsernames',
  'listUsers',
  'findApiKey',
  'listApiKeys',
  'findInvalidApiKeys',
  'findDaemonKey',
  'listDaemonKeys',
  'findInvalidDaemonKeys',
  'findAgent',
  'findAgentByKey',
  'listAgents',
  'readAgentLinks',
  'findReplica',
  'listAbsentDaemons',
  'findErasure',
  'listErasures',
  'readErasure',
  'listProviders',
  'listOwnPrices',
  'findInterceptionFacts',
  'listUnpricedModels',
  'listUnpriced',
  'listLastFailures',
  'listSecrets',
  'listAudit',
  'findByShortId',
  'listMcpServers',
  'listAuthLinks',
  'hasConversations',
  'findChat',
  'listChats',
  'listMessages',
  'readChatVersions',
  'readHistory',
  'syncChat',
])

/** Methods that change the same a second time. An attempt whose outcome is unknown is repeated too. */
const repeatableWrites = new Set<keyof Tables>([
  'record',
  'recordDaemonSeen',
  'recordDaemonsConnected',
  'recordAgentsPresent',
  'recordAgentLeft',
  'recordReplicaSeen',
  'forgetReplicas',
  'recordDaemonsPresent',
  'recordDaemonsLeft',
  'recordUnnotedDaemons',
  'declareDaemonsGone',
  'settleDaemon',
  'forgetDaemons',
  'recordOutboxWatched',
  'recordOutboxLeft',
  'recordOutboxEmpty',
  'confirmErasures',
  'forgetErasures',
  'finishRefresh',
  'openConversation',
  'pinTools',
  'keepTurn',
  'findOrCreateChatsKey',
  'createChat',
  'takeChat',
  'renewChats',
  'releaseChats',
  'eraseOldChats',
  'eraseChatsOf',
  'keepPrices',
  'setOwnPrice',
  'setCosts',
])

/** Methods that are repeated unless they may have been committed. */
const singleWrites = new Set<keyof Tables>(['changeChat', 'acquireChats'])

type Kind = 'read' | 'repeatable write' | 'single write' | 'write'

function kindOf(method: keyof Tables): Kind {
  if (reads.has(method)) return 'read'
  if (repeatableWrites.has(method)) return 'repeatable write'
  return singleWrites.has(method) ? 'single write' : 'write'
}

/**
 * Creates a store from a migrated database, which the store owns from then on, and from the source of its changes.
 * `afterClose` runs once, after both are closed. Rejections and failures of the database become
 * `INTERNAL_SERVER_ERROR`, which says whether the change may be stored all the same (`mayHaveRun`); the cause is kept
 * for the log.
 */
export function createSqlStore(
  database: SqlDatabase,
  changes: Changes,
  { repeatForMs = defaultRepeatForMs, afterClose }: { repeatForMs?: number; afterClose?: () => Promise<void> } = {},
): Store {
  const { db, pipeline } = database
  const open = new Set<Promise<unknown>>()
  let closed: Promise<void> | undefined
  const close = async () => {
    await settled(open)
    try {
      await Promise.all([db.destroy(), changes.close()])
    } finally {
      await afterClose?.()
    }
  }

  async function guarded<T>(work: () => Promise<T>, kind: Kind): Promise<T> {
    if (closed) throw new RpcError('INTERNAL_SERVER_ERROR', 'the store is closed', { mayHaveRun: false })
    let mayHaveRun = false
    const attempt = () =>
      work().catch((error: unknown) => {
        mayHaveRun ||= kind !== 'read' && mayHaveCommitted(error)
        throw error
      })
    const mayRepeat = () => closed === undefined && !(kind === 'single write' && mayHaveRun)
    const result = kind === 'write' ? attempt() : repeated(attempt, repeatForMs, mayRepeat)
    open.add(result)
    try {
      return await result
    } catch (cause) {
      if (cause instanceof RpcError) throw cause
      const message = 'the database could not respond; the cause is in the log of the server'
      throw new RpcError('INTERNAL_SERVER_ERROR', message, { cause, mayHaveRun })
    } finally {
      open.delete(result)
    }
  }

  const groups = new RecordGroups(members => storeRecords(database, members), {
    maxLanes: pipeline.isExclusive ? 1 : maxLanes,
  })
  const tables: Tables = { ...tablesOf(db), record: records => groups.record(records) }
  const guardedTables = Object.fromEntries(
    Object.entries(tables).map(([name, method]: [string, (...args: never[]) => Promise<unknown>]) => {
      const key = name as keyof Tables // the keys of what tablesOf() returns
      return [name, (...args: never[]) => guarded(() => method(...args), kindOf(key))]
    }),
  ) as unknown as Tables // each method is wrapped by one of its own type

  return {
    ...guardedTables,
    ping: () => guarded(() => checkReadiness(db), 'write'),
    settle: async () => void (await Promise.allSettled(open)),
    onChange: (topic, listener) => changes.onChange(topic, () => listener()),
    onChatChange: listener => changes.onChange('chats', listener),
    audited(work, entryOf) {
      const write = () =>
        db.transaction().execute(async tx => {
          const result = await work(tablesOf(tx))
          const entry = entryOf(result)
          if (entry) await insertAuditEntry(tx, entry)
          return result
        })
      return guarded(write, 'write')
    },
    close: () => {
      closed ??= close()
      return closed
    },
  }
}

/** The questions that a database, or one transaction, responds to. */
function tablesOf(db: Kysely<Database>): TransactionTables {
  return {
    ...interceptionStore(db),
    ...usageStore(db),
    ...erasureStore(db),
    ...purgeStore(db),
    ...feedStore(db),
    ...userStore(db),
    ...apiKeyStore(db),
    ...daemonKeyStore(db),
    ...agentStore(db),
    ...replicaStore(db),
    ...daemonInstanceStore(db),
    ...endStore(db),
    ...outboxErasureStore(db),
    ...providerStore(db),
    ...priceStore(db),
    ...mcpStore(db),
    ...conversationStore(db),
    ...chatStore(db),
    ...secretStore(db),
    ...auditStore(db),
    ...shortIdStore(db),
  }
}

async function repeated<T>(work: () => Promise<T>, repeatForMs: number, mayRepeat: () => boolean): Promise<T> {
  const giveUpAt = performance.now() + repeatForMs
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (!isPassing(error) || !mayRepeat() || performance.now() > giveUpAt) throw error
    }
    await new Promise(resolve => setTimeout(resolve, repeatAfterMs * (0.5 + Math.random())))
  }
}

async function settled(open: Iterable<Promise<unknown>>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>(resolve => {
    timer = setTimeout(resolve, openWorkTimeoutMs)
  })
  await Promise.race([Promise.allSettled(open), late])
  clearTimeout(timer)
}
