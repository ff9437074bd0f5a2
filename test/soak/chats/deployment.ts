/** Three control planes on one PostgreSQL, and an agent behind a balancer, in a folder of their own. */
import { randomBytes } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { type BridgeClient, createBridgeClient } from '../../../client/bridge-client.js'
import { type Balancer, balance } from '../../e2e/balancer.js'
import { makeDatabase } from '../../fixtures/stores.js'
import { steadyPort } from '../crash/deployment.js'
import { Program } from '../crash/program.js'
import type { Choice } from '../transport/choice.js'
import type { RunningProcess } from './accounts.js'
import type { Offence } from './offence.js'
import type { Place, Replica } from './place.js'

/** Options of {@link Deployment.create}. */
export interface DeploymentOptions {
  directory: string
  /** the path of the built command line */
  commandLine: string
  choice: Choice
}

/** longest time of a start on a busy machine */
const startTimeoutMs = 60_000

const replicaNames = ['a', 'b', 'c'] as const

/** The processes of a round. */
export class Deployment implements Place {
  readonly replicas: readonly Program[]
  /** what processes did or logged against the rules */
  readonly offences: Offence[] = []
  readonly #options: DeploymentOptions
  readonly #urls = new Map<string, string>()
  readonly #adminToken = randomBytes(16).toString('hex')
  readonly #database: Awaited<ReturnType<typeof makeDatabase>>
  readonly #balancer: Balancer
  readonly #clients: BridgeClient[] = []
  #agent: Program | undefined

  private constructor(
    options: DeploymentOptions,
    ports: readonly number[],
    database: Awaited<ReturnType<typeof makeDatabase>>,
    balancer: Balancer,
  ) {
    this.#options = options
    this.#database = database
    this.#balancer = balancer
    const encryptionKey = randomBytes(32).toString('base64')
    this.replicas = replicaNames.map((name, index) => {
      const url = `http://127.0.0.1:${ports[index]}`
      this.#urls.set(name, url)
      const args = [
        'serve',
        '--data',
        join(options.directory, name),
        '--port',
        `${ports[index]}`,
        '--advertise-url',
        url,
      ]
      return this.#program(name, [...args, '--grace-ms', '2000'], {
        BRIDGE_ADMIN_TOKEN: this.#adminToken,
        BRIDGE_ENCRYPTION_KEY: encryptionKey,
        DATABASE_URL: database.url,
      })
    })
  }

  /** Makes the database and the folder; no program runs yet. */
  static async create(options: DeploymentOptions): Promise<Deployment> {
    await mkdir(join(options.directory, 'workspace'), { recursive: true })
    const ports: number[] = []
    for (const _ of replicaNames) ports.push(await steadyPort(options.choice))
    let targets: { url: string }[] = []
    const balancer = await balance(() => targets)
    const deployment = new Deployment(options, ports, await makeDatabase(), balancer)
    targets = [...deployment.#urls.values()].map(url => ({ url }))
    return deployment
  }

  /** The file to which commands append. */
  get runsFile(): string {
    return join(this.#options.directory, 'workspace', 'runs')
  }

  /** The lines of {@link runsFile}. */
  async runs(): Promise<string[]> {
    const text = await readFile(this.runsFile, 'utf8').catch(() => '')
    return text.split('\n').filter(line => line !== '')
  }

  /** Returns what runs on the agent when nothing runs any more, or after a time. */
  async running(timeoutMs: number): Promise<RunningProcess[]> {
    const { agents } = this.client('a').admin
    const giveUpAt = performance.now() + timeoutMs
    for (;;) {
      const { processes } = await agents.processes.query({ agent: 'builder' })
      const running = processes.flatMap(({ id, scope = '', running }) => (running ? [{ id, scope }] : []))
      if (running.length === 0 || performance.now() > giveUpAt) return running
      await pause(200)
    }
  }

  /** A client of one replica: the admin's, or that of a user with a key. */
  client(replica: string, key = this.#adminToken): BridgeClient {
    const client = createBridgeClient({ url: this.#urls.get(replica) ?? '', key })
    this.#clients.push(client)
    return client
  }

  /** Starts everything, and makes the provider, a user with a key, and the user's agent. */
  async start(providerUrl: string): Promise<{ key: string }> {
    await Promise.all(this.replicas.map(replica => replica.up(startTimeoutMs)))
    const { users, apiKeys, providers, agents } = this.client('a').admin
    await users.create.mutate({ username: 'ada' })
    const keys = ['sk-stand-in']
    await providers.upsert.mutate({ name: 'stand-in', type: 'anthropic', baseUrl: providerUrl, keys })
    const agent = await agents.create.mutate({ name: 'builder', user: 'ada' })
    const args = ['agent', '--url', this.#balancer.url, '--dir', join(this.#options.directory, 'workspace')]
    this.#agent = this.#program('agent', args, { BRIDGE_AGENT_KEY: agent.key })
    await this.#agent.up(startTimeoutMs)
    return { key: (await apiKeys.create.mutate({ user: 'ada' })).key }
  }

  /** Starts a replica that was killed. */
  async up(replica: Replica): Promise<void> {
    const program = this.replicas.find(each => each === replica)
    while (program && !(await program.up(startTimeoutMs)));
  }

  /** Stops every program as an operator would. */
  async stop(): Promise<void> {
    await Promise.all(this.replicas.map(replica => replica.terminate(startTimeoutMs)))
  }

  /** Ends everything that runs. */
  async close(): Promise<void> {
    await Promise.all(this.#clients.map(client => client.close()))
    const programs = [...this.replicas, ...(this.#agent ? [this.#agent] : [])]
    await Promise.all(programs.map(program => program.kill()))
    for (const program of programs) program.closeLog()
    await this.#balancer.close()
    await this.#database.drop()
  }

  #program(name: string, args: readonly string[], env: Record<string, string>): Program {
    const { directory, commandLine } = this.#options
    const note = (detail: string) => this.offences.push({ kind: 'log', tag: name, detail })
    return new Program({
      name,
      commandLine,
      args,
      // Whatever a program keeps by default stands in this folder.
      env: { HOME: join(directory, name), ...env },
      logFile: join(directory, `${name}.log`),
      mayFailToStart: false,
      onLine(line) {
        if (isOffence(line)) note(line.slice(0, 500))
      },
      onOffence: note,
    })
  }
}

/** Whether a line of the log says that a program has a fault. That the stand-in breaks a response off is none. */
function isOffence(line: string): boolean {
  return /"level":"error"|"level":50|a fault of aibridge/.test(line) && !line.includes('"rejection":"provider_failed"')
}
