import type { Kysely } from 'kysely'
import type { Pipeline } from './pipeline.js'
import type { Database } from './schema.js'

/** A database as a store uses it: by kysely, and by statements that are sent together. */
export interface SqlDatabase {
  db: Kysely<Database>
  pipeline: Pipeline
}
