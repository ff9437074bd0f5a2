/** Keeps `--help` quick: to load the client takes longer than to print it. */
import type { withAdmin } from './admin-client.js'

/** `withAdmin` of admin-client.ts, loaded when it is called. */
export const callAdmin: typeof withAdmin = async (options, work) => {
  const client = await import('./admin-client.js')
  return client.withAdmin(options, work)
}
