/** The PostgreSQL server of a round, killed and started again like a program. */
import { PostgresServer } from '../../fixtures/postgres-server.js'
import type { ProgramState, Run } from './program.js'

/** The database under the harness' hands. */
export class Database {
  readonly name = 'postgres'
  readonly runs: Run[]
  readonly wasReady = true
  readonly #server: PostgresServer
  #starting: Promise<void> = Promise.resolve()

  private constructor(server: PostgresServer) {
    this.#server = server
    const now = performance.now()
    this.runs = [{ startedAt: now, readyAt: now }]
  }

  /** Makes an empty server and starts it. */
  static async create(): Promise<Database> {
    return new Database(await PostgresServer.create())
  }

  get url(): string {
    return this.#server.url()
  }

  get state(): ProgramState {
    const run = this.runs.at(-1)
    if (!run || run.ending !== undefined) return 'stopped'
    return run.readyAt === undefined ? 'starting' : 'ready'
  }

  start(): void {
    if (this.state !== 'stopped') return
    const run: Run = { startedAt: performance.now() }
    this.runs.push(run)
    this.#starting = this.#server.start().then(() => {
      if (run.ending === undefined) run.readyAt = performance.now()
    })
  }

  /** Starts the server. Resolves with false if the harness ends it meanwhile. */
  async up(): Promise<boolean> {
    this.start()
    await this.#starting
    return this.state === 'ready'
  }

  kill(): Promise<void> {
    return this.#end('SIGKILL')
  }

  /** Stops the server as an operator would: its sessions are ended, and it comes back when it is started. */
  async shutDown(): Promise<void> {
    await this.#end('SIGTERM')
  }

  /** Kills one of the server's processes; the server notices, and recovers by itself. */
  async crash(choice: number): Promise<void> {
    this.#server.killChild(choice)
  }

  /** Lets the server and all its sessions stand still until `thaw`. */
  freeze(): void {
    this.#server.signal('SIGSTOP')
  }

  thaw(): void {
    this.#server.signal('SIGCONT')
  }

  async remove(): Promise<void> {
    await this.#starting
    await this.#server.remove()
  }

  async #end(ending: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const run = this.runs.at(-1)
    if (!run || run.ending !== undefined) return
    run.ending = ending
    await this.#server.stop(ending === 'SIGKILL' ? 'SIGKILL' : 'SIGINT')
    run.exitedAt = performance.now()
  }
}
