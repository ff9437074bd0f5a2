/** Keeps `--help` quick: loading the client takes longer than printing the help. */
import type { withAdmin } from './admin-client.js'

/** Loads admin-client.ts and calls `withAdmin`. */
export const callAdmin: typeof withAdmin = async (options, work) => {
  const client = await import('./admin-client.js')
  return client.withAdmin(options, work)
}
