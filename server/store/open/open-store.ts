/** Chooses the store from its options. Only this folder names the concrete stores. */
import { RpcError } from '../../../shared/rpc/errors.js'
import type { Logger } from '../../../shared/values/log.js'
import type { Store } from '../store.js'

/** The embedded store: PostgreSQL inside this process, its files in a directory. */
export interface EmbeddedStoreOptions {
  /** the directory that holds the database; made with mode 0700 if it is missing */
  dataDir: string
  databaseUrl?: undefined
  /** receives one line when a database is created; default: no log */
  logger?: Logger | undefined
  /**
   * Called once if the database ends by itself, for instance because the disk is full. Every call of the store fails
   * from then on, and only a new process can open the database again.
   */
  onLost?: ((cause: Error) => void) | undefined
}

/** A PostgreSQL server, version 15 or newer. */
export interface PostgresStoreOptions {
  /** `postgres://USER:PASSWORD@HOST:PORT/DATABASE`; never logged */
  databaseUrl: string
  /** most connections of this process; one more listens for changes; default 10 */
  maxConnections?: number | undefined
  /** receives lost connections; default: no log */
  logger?: Logger | undefined
}

/** Where a store keeps its rows: in a directory of its own, or in a PostgreSQL database. */
export type OpenStoreOptions = EmbeddedStoreOptions | PostgresStoreOptions

/**
 * Opens a store and brings its schema to this version. The caller closes it, after the server that uses it.
 *
 * Loads only the store that the options name: a program that gives a `databaseUrl` loads no embedded database (14 MB),
 * one that gives a `dataDir` no PostgreSQL client. A data directory is opened by one process at a time; a PostgreSQL
 * database may be opened by any number. The first start of a data directory takes some seconds.
 * @throws RpcError `PRECONDITION_FAILED`: `data_in_use`, naming the process that has the directory open;
 *   `database_corrupt`, and nothing is deleted; `database_newer` if a newer version migrated it; `database_unreachable`
 *   if the server cannot be reached within 10 s or rejects the login; `config_invalid` if the directory cannot be made
 *   or the server is too old. `BAD_REQUEST` (config_invalid) for a `databaseUrl` of another form
 */
export async function openStore(options: OpenStoreOptions): Promise<Store> {
  if (options.databaseUrl === undefined) {
    const { openEmbeddedStore } = await import('../pglite/embedded.js')
    return openEmbeddedStore(options)
  }
  const { databaseUrl, maxConnections, logger } = options
  if (!/^postgres(ql)?:\/\//.test(databaseUrl) || !URL.canParse(databaseUrl)) {
    // Not the URL itself: it may hold a password.
    throw new RpcError('BAD_REQUEST', 'databaseUrl: must be postgres://USER:PASSWORD@HOST:PORT/DATABASE', {
      reason: 'config_invalid',
    })
  }
  const { openPostgresStore } = await import('../postgres/postgres.js')
  return openPostgresStore({ url: databaseUrl, maxConnections, logger })
}
