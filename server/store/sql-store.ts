/** The store on any PostgreSQL that kysely can talk to, embedded or not. */
import { type Kysely, sql } from 'kysely'
import { RpcError } from '../../shared/errors.js'
import { apiKeyStore } from './api-keys.js'
import { daemonKeyStore } from './daemon-keys.js'
import { getInterception, listInterceptions } from './interceptions.js'
import { providerStore } from './providers.js'
import { storeRecords } from './records.js'
import type { Database } from './schema.js'
import type { Store } from './store.js'
import { userStore } from './users.js'

/** How long `close()` waits for open work: a database that hangs must not keep the process from ending. */
const openWorkTimeoutMs = 10_000

/**
 * Makes a store of a migrated database, which it owns from then on. `afterClose` runs once, when the database is closed.
 * What the database refuses or cannot answer rejects with `INTERNAL_SERVER_ERROR`; the cause is kept for the log.
 */
export function createSqlStore(db: Kysely<Database>, options: { afterClose?: () => Promise<void> } = {}): Store {
  const open = new Set<Promise<unknown>>()
  let closed: Promise<void> | undefined
  const close = async () => {
    await settled(open)
    try {
      await db.destroy()
    } finally {
      await options.afterClose?.()
    }
  }
  const guarded = <Args extends unknown[], R>(method: (...args: Args) => Promise<R>) => {
    return async (...args: Args): Promise<R> => {
      if (closed) throw new RpcError('INTERNAL_SERVER_ERROR', 'the store is closed')
      const work = method(...args)
      open.add(work)
      try {
        return await work
      } catch (cause) {
        if (cause instanceof RpcError) throw cause
        throw new RpcError(
          'INTERNAL_SERVER_ERROR',
          'the database could not answer; the cause is in the log of the server',
          { cause },
        )
      } finally {
        open.delete(work)
      }
    }
  }
  const users = userStore(db)
  const keys = apiKeyStore(db)
  const daemonKeys = daemonKeyStore(db)
  const providers = providerStore(db)
  return {
    ping: guarded(async () => void (await sql`select 1`.execute(db))),
    close: () => {
      closed ??= close()
      return closed
    },

    record: guarded(records => storeRecords(db, records)),
    listInterceptions: guarded(query => listInterceptions(db, query)),
    getInterception: guarded(id => getInterception(db, id)),

    createUser: guarded(users.createUser),
    findUser: guarded(users.findUser),
    listUsers: guarded(users.listUsers),
    setUserStatus: guarded(users.setUserStatus),
    deleteUser: guarded(users.deleteUser),

    createApiKey: guarded(keys.createApiKey),
    findApiKey: guarded(keys.findApiKey),
    listApiKeys: guarded(keys.listApiKeys),
    expireApiKey: guarded(keys.expireApiKey),
    deleteApiKey: guarded(keys.deleteApiKey),

    createDaemonKey: guarded(daemonKeys.createDaemonKey),
    findDaemonKey: guarded(daemonKeys.findDaemonKey),
    listDaemonKeys: guarded(daemonKeys.listDaemonKeys),
    revokeDaemonKey: guarded(daemonKeys.revokeDaemonKey),
    recordDaemonSeen: guarded(daemonKeys.recordDaemonSeen),
    findInvalidDaemonKeys: guarded(daemonKeys.findInvalidDaemonKeys),

    listProviders: guarded(providers.listProviders),
    upsertProvider: guarded(providers.upsertProvider),
    setProviderEnabled: guarded(providers.setProviderEnabled),
    removeProvider: guarded(providers.removeProvider),
    seedProviders: guarded(providers.seedProviders),
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
