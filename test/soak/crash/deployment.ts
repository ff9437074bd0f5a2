/** The processes of a round, in a folder of their own. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { type BridgeClient, createBridgeClient } from '../../../client/bridge-client.js'
import type { Choice } from '../transport/choice.js'
import { Database } from './database.js'
import type { Offence } from './offences.js'
import { Program } from './program.js'
import type { Mode, Role } from './strikes.js'

/** A process that can be struck. */
export type Victim = Program | Database

/** Options of {@link Deployment.create}. */
export interface DeploymentOptions {
  mode: Mode
  directory: string
  /** the path of the built command line */
  commandLine: string
  choice: Choice
  /** the database in mode `quick` */
  databaseUrl?: string | undefined
  /** Takes each line of the control plane's log. */
  onServerLine(line: string): void
}

/** How many remote daemons a mode has. */
const daemonsOf: Readonly<Record<Mode, number>> = { embedded: 0, remote: 2, postgres: 1, quick: 3 }

/** longest time of a start, on a busy machine and with a database that recovers */
export const startTimeoutMs = 60_000

/** A control plane, its daemons and its database. */
export class Deployment {
  readonly mode: Mode
  readonly server: Program
  readonly database: Database | undefined
  readonly daemons: Program[] = []
  /** what processes did or logged against the rules */
  readonly offences: Offence[] = []
  readonly #options: DeploymentOptions
  readonly #adminToken: string
  readonly #serverUrl: string
  readonly #fsync: string
  readonly #urls = new Map<string, string>()
  #client: BridgeClient | undefined

  private constructor(options: DeploymentOptions, port: number, database: Database | undefined) {
    const { mode, directory } = options
    this.#options = options
    this.mode = mode
    this.#fsync = options.choice.pick(['always', 'interval', 'never'])
    this.database = database
    const databaseUrl = database?.url ?? options.databaseUrl
    this.#adminToken = randomBytes(16).toString('hex')
    this.#serverUrl = `http://127.0.0.1:${port}`
    this.server = this.#program('server', port, ['serve', '--data', join(directory, 'data'), '--structured-logging'], {
      BRIDGE_ADMIN_TOKEN: this.#adminToken,
      ...(databaseUrl !== undefined && {
        DATABASE_URL: databaseUrl,
        BRIDGE_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
      }),
    })
  }

  /** Makes the folder and the database server; no program runs yet. */
  static async create(options: DeploymentOptions): Promise<Deployment> {
    await mkdir(options.directory, { recursive: true })
    const database = options.mode === 'postgres' ? await Database.create() : undefined
    return new Deployment(options, await steadyPort(options.choice), database)
  }

  /** The victims of a role; `all` in the order in which they depend on each other. */
  victims(role: Role | 'all'): Victim[] {
    const byRole: Record<Role, Victim[]> = {
      postgres: this.database ? [this.database] : [],
      server: [this.server],
      daemon: this.daemons,
    }
    return role === 'all' ? Object.values(byRole).flat() : byRole[role]
  }

  roleOf(victim: Victim): Role {
    if (victim === this.database) return 'postgres'
    return victim === this.server ? 'server' : 'daemon'
  }

  /** The bridges that clients ask. Where there are remote daemons only, the embedded one has nothing to do. */
  get bridges(): { name: string; url: string }[] {
    const isApart = this.mode === 'remote' || this.mode === 'quick'
    const programs = isApart ? this.daemons : [this.server, ...this.daemons]
    return programs.map(({ name }) => ({ name, url: this.#urls.get(name) ?? '' }))
  }

  /** A client with the admin's rights, which dials again whenever the control plane comes back. */
  get client(): BridgeClient {
    this.#client ??= createBridgeClient({ url: this.#serverUrl, key: this.#adminToken })
    return this.#client
  }

  /** Makes a user, the providers and the daemons of a control plane that is up. Returns the user's key. */
  async setUp(providerUrl: string): Promise<string> {
    const { users, apiKeys, providers, daemonKeys } = this.client.admin
    await users.create.mutate({ username: 'alice' })
    const keys = ['sk-stand-in']
    await providers.upsert.mutate({ name: 'anthropic-stand-in', type: 'anthropic', baseUrl: providerUrl, keys })
    await providers.upsert.mutate({ name: 'openai-stand-in', type: 'openai', baseUrl: `${providerUrl}/v1`, keys })
    for (let index = 1; index <= daemonsOf[this.mode]; index++) {
      const name = `daemon-${index}`
      const { key } = await daemonKeys.create.mutate({ name })
      const port = await steadyPort(this.#options.choice)
      this.daemons.push(this.#program(name, port, ['daemon', '--url', this.#serverUrl], { BRIDGE_DAEMON_KEY: key }))
    }
    return (await apiKeys.create.mutate({ user: 'alice' })).key
  }

  /** Brings processes up, by default all. Another strike may end one while it starts; it is started again then. */
  async up(victims: readonly Victim[] = this.victims('all')): Promise<void> {
    const isUp = async (victim: Victim) => {
      while (!(await victim.up(startTimeoutMs)));
    }
    // The database first: a control plane that does not find it ends, and is started again.
    await Promise.all(victims.filter(victim => victim === this.database).map(isUp))
    await Promise.all(victims.filter(victim => victim !== this.database).map(isUp))
  }

  /** Resolves when the bridges of these programs have nothing to hand over. */
  async drained(programs: readonly Program[], timeoutMs: number): Promise<void> {
    const giveUpAt = performance.now() + timeoutMs
    for (const program of programs) {
      const url = this.#urls.get(program.name)
      for (;;) {
        const text = await fetch(`${url}/metrics`).then(
          response => response.text(),
          () => '',
        )
        if (/^bridge_outbox_records 0$/m.test(text)) break
        if (performance.now() > giveUpAt) {
          const records = /^bridge_outbox_records .*$/m.exec(text)?.[0] ?? 'no metrics'
          throw new Error(`${program.name} has not handed over its records in ${timeoutMs} ms: ${records}`)
        }
        await new Promise(resolve => setTimeout(resolve, 50))
      }
    }
  }

  /** Stops every program as an operator would, the daemons first. */
  async stop(): Promise<void> {
    await Promise.all(this.daemons.map(daemon => daemon.terminate(startTimeoutMs)))
    await this.server.terminate(startTimeoutMs)
  }

  /** Ends everything that runs. */
  async close(): Promise<void> {
    await this.#client?.close()
    await Promise.all([this.server, ...this.daemons].map(program => program.kill()))
    for (const program of [this.server, ...this.daemons]) program.closeLog()
    await this.database?.remove()
  }

  #program(name: string, port: number, args: readonly string[], env: Record<string, string>): Program {
    const { directory, commandLine, onServerLine } = this.#options
    this.#urls.set(name, `http://127.0.0.1:${port}`)
    const note = (detail: string) => this.offences.push({ kind: 'log', tag: name, detail })
    return new Program({
      name,
      commandLine,
      args: [...args, '--port', String(port), '--grace-ms', '5000', '--outbox-fsync', this.#fsync],
      // Whatever a program keeps by default stands in this folder.
      env: { HOME: join(directory, name), ...env },
      logFile: join(directory, `${name}.log`),
      mayFailToStart: this.database !== undefined,
      onLine(line) {
        if (name === 'server') onServerLine(line)
        if (isOffence(line)) note(line.slice(0, 500))
      },
      onOffence: note,
    })
  }
}

/** Messages of the log that say that records were lost, differ or were rejected, or that a program has a fault. */
const offences = /content_differs|"CONFLICT"|records were lost|rejected a record for good|a fault of aibridge/

function isOffence(line: string): boolean {
  return offences.test(line)
}

/**
 * Returns a free port below the range from which the system takes the ports of outgoing connections: no connection can
 * take it while its process is down.
 */
export async function steadyPort(choice: Choice): Promise<number> {
  for (;;) {
    const port = 10_000 + choice.below(20_000)
    const server = createServer()
    server.listen(port, '127.0.0.1')
    const isFree = await Promise.race([
      once(server, 'listening').then(() => true),
      once(server, 'error').then(() => false),
    ])
    server.close()
    if (isFree) return port
  }
}
