/** Servers of the built program that share a database and reach each other. */
import { onTestFinished } from 'vitest'
import { balance } from './balancer.js'
import { startServe, temporaryDirectory } from './process.js'

/** What all servers of a database are given. */
export const replicaEnvironment = (databaseUrl: string) => ({
  BRIDGE_ADMIN_TOKEN: 'admin-token-of-the-control-plane',
  BRIDGE_ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64'),
  DATABASE_URL: databaseUrl,
})

/** Starts a server that the others reach: it has to know the URL of its way in before it has a port. */
export async function startReplica(env: Record<string, string>) {
  const found: { url: string }[] = []
  const way = await balance(() => found)
  onTestFinished(way.close)
  const server = await startServe(await temporaryDirectory(), { env: { ...env, BRIDGE_ADVERTISE_URL: way.url } })
  found.push(server)
  return server
}
