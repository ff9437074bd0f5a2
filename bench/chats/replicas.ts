/** Two `aibridge serve` on one PostgreSQL, with a provider and a user. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type BridgeClient, createBridgeClient } from '../../client/bridge-client.js'
import { PostgresServer } from '../../test/fixtures/postgres-server.js'
import { listenOnLoopback } from '../gateway/loopback.js'

/** A server that runs. */
export interface Replica {
  pid: number
  url: string
  /** Returns a new connection of the user. */
  connect(): BridgeClient
  /** Returns the number of chats whose turn this server runs. */
  runningChats(): Promise<number>
}

/** Both servers. */
export interface Replicas {
  replicas: readonly [Replica, Replica]
  /** the user's key */
  key: string
  close(): Promise<void>
}

/** Starts everything. @param upstream base URL of a provider of the Messages API, which gets the name `stand-in` */
export async function startReplicas(build: string, upstream: string): Promise<Replicas> {
  const directory = await mkdtemp(join(tmpdir(), 'aibridge-bench-'))
  const postgres = await PostgresServer.create({ fsync: 'on' })
  const adminToken = randomBytes(16).toString('hex')
  const env = {
    PATH: process.env.PATH,
    HOME: directory,
    DATABASE_URL: postgres.url(),
    BRIDGE_ADMIN_TOKEN: adminToken,
    BRIDGE_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
  }
  const servers: ChildProcess[] = []
  const clients: BridgeClient[] = []
  const connect = (url: string, key: string): BridgeClient => {
    const client = createBridgeClient({ url, key })
    clients.push(client)
    return client
  }
  const close = async (): Promise<void> => {
    await Promise.all(clients.map(client => client.close()))
    for (const server of servers) {
      if (server.exitCode !== null || server.signalCode !== null) continue
      server.kill('SIGTERM')
      await once(server, 'exit')
    }
    await postgres.remove()
    await rm(directory, { recursive: true })
  }

  async function serve(name: string): Promise<{ pid: number; url: string }> {
    const url = await freeUrl()
    const args = ['serve', '--data', join(directory, name), '--port', new URL(url).port, '--advertise-url', url]
    const program = join(build, 'server/cli.js')
    const server = spawn(process.execPath, [program, ...args, '--json'], { env, stdio: ['ignore', 'pipe', 'ignore'] })
    servers.push(server)
    const ended = once(server, 'exit').then(([code]) => {
      throw new Error(`aibridge serve ended with ${code}`)
    })
    await Promise.race([once(createInterface(server.stdout), 'line'), ended])
    ended.catch(() => {}) // close() ends it
    return { pid: server.pid ?? Number.NaN, url }
  }

  try {
    // One after the other: the first migrates the database.
    const [first, second] = [await serve('a'), await serve('b')]
    const { users, apiKeys, providers } = connect(first.url, adminToken).admin
    await users.create.mutate({ username: 'ada' })
    await providers.upsert.mutate({ name: 'stand-in', type: 'anthropic', baseUrl: upstream, keys: ['sk-bench'] })
    const { key } = await apiKeys.create.mutate({ user: 'ada' })
    const replica = ({ pid, url }: { pid: number; url: string }): Replica => ({
      pid,
      url,
      connect: () => connect(url, key),
      async runningChats() {
        const text = await (await fetch(`${url}/metrics`)).text()
        return Number(/^chats_running (\d+)/m.exec(text)?.[1])
      },
    })
    return { replicas: [replica(first), replica(second)], key, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Returns the URL of a port that is free: a server has to know its own URL before it listens. */
async function freeUrl(): Promise<string> {
  const server = createServer()
  const url = await listenOnLoopback(server)
  server.close()
  await once(server, 'close')
  return url
}
