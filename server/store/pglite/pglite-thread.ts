/** The main thread's side of pglite-worker.js: statements in, rows out. */
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { ChangeListeners, type Changes, type ChangeTopic, changeTopics, channelPrefix } from '../sql/changes.js'
import { SqlError } from '../sql/sql-error.js'
import type { Answer, Failed, Notified, Opened, Request } from './pglite-worker.js'

/** How long opening may take; a first start takes 2.5 to 6 s, replaying a long write-ahead log some seconds. */
const openTimeoutMs = 60_000
/** How long closing may take before the thread is ended; the data is safe either way. */
const closeTimeoutMs = 10_000

/** The rows of a statement and, for one that writes, how many it wrote. */
export interface SqlResult {
  rows: unknown[]
  rowCount: number | undefined
}

interface Waiting {
  resolve(result: SqlResult): void
  reject(error: Error): void
}

/**
 * One PGlite session in a worker thread. Statements run in the order of the calls.
 * When the thread ends, all that wait and all later calls reject with the cause; whether the process ends too is for its owner to decide.
 */
export class PGliteThread implements Changes {
  readonly #worker: Worker
  readonly #waiting = new Map<number, Waiting>()
  readonly #listeners = new ChangeListeners()
  readonly #exited: Promise<void>
  /** Resolves with the cause when the thread ends without having been closed. */
  readonly lost: Promise<Error>
  #lose: (cause: Error) => void = () => {}
  #ended: Error | undefined
  #nextId = 0
  #closed: Promise<void> | undefined

  private constructor(worker: Worker) {
    this.#worker = worker
    this.#exited = new Promise(resolve => worker.once('exit', () => resolve()))
    this.lost = new Promise(resolve => {
      this.#lose = resolve
    })
    worker.on('message', (message: Answer | Notified) => {
      if (message.kind === 'notified') this.#listeners.tell(message.channel)
      else this.#settle(message)
    })
    worker.on('error', error => this.#end(new Error('the database thread failed', { cause: error })))
    worker.on('exit', code => this.#end(new Error(`the database thread ended with code ${code}`)))
  }

  /**
   * Opens the database in `dataDir`, or makes a new one where there is no PG_VERSION.
   * @throws Error with PostgreSQL's own words if it cannot be opened, or not within 60 s
   */
  static async open(dataDir: string): Promise<PGliteThread> {
    const worker = new Worker(new URL('./pglite-worker.js', import.meta.url), {
      workerData: { dataDir, code: await postgresCode() },
      // The process's own flags, such as --input-type or a loader, are about its main file.
      execArgv: [],
      // PostgreSQL's log would go to the terminal; what matters of it comes back as errors.
      stdout: true,
      stderr: true,
    })
    worker.stdout.resume()
    worker.stderr.resume()
    try {
      await opened(worker)
    } catch (error) {
      await worker.terminate()
      throw error
    }
    const thread = new PGliteThread(worker)
    for (const topic of changeTopics) await thread.query(`listen ${channelPrefix}${topic}`)
    return thread
  }

  /** This session hears all of its own changes, and there is no other. */
  onChange(topic: ChangeTopic, listener: () => void): () => void {
    return this.#listeners.add(topic, listener)
  }

  /** Runs one statement; see {@link toParameter} for what a parameter may be. */
  query(sql: string, parameters: readonly unknown[] = []): Promise<SqlResult> {
    if (this.#ended) return Promise.reject(this.#ended)
    return this.#request(id => ({ id, sql, parameters: parameters.map(toParameter) }))
  }

  /** Runs what was asked for, closes the database and ends the thread. A second call gets the same promise. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  /** Ends the thread at once, as a crash would. */
  async terminate(): Promise<void> {
    await this.#worker.terminate()
  }

  async #close(): Promise<void> {
    if (this.#ended) return
    const timer = setTimeout(() => void this.#worker.terminate(), closeTimeoutMs)
    const closing = this.#request(id => ({ id, close: true }))
    this.#ended = new Error('the database is closed')
    // The thread may fail instead of answering; it is gone then too.
    await closing.catch(() => {})
    await this.#exited
    clearTimeout(timer)
  }

  #request(make: (id: number) => Request): Promise<SqlResult> {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++
      const request = make(id)
      this.#waiting.set(id, { resolve, reject })
      this.#worker.postMessage(request)
    })
  }

  #settle(message: Answer): void {
    const waiting = this.#waiting.get(message.id)
    this.#waiting.delete(message.id)
    if (message.kind === 'error') waiting?.reject(new SqlError(message.error))
    else waiting?.resolve(message)
  }

  #end(cause: Error): void {
    if (!this.#ended) this.#lose(cause)
    this.#ended ??= cause
    for (const { reject } of this.#waiting.values()) reject(cause)
    this.#waiting.clear()
  }
}

let code: Promise<WebAssembly.Module> | undefined

/** PostgreSQL as WebAssembly. It is kept, so that threads share what V8 compiles of it: a first start opens two, one after the other. */
export function postgresCode(): Promise<WebAssembly.Module> {
  code ??= compile()
  return code
}

async function compile(): Promise<WebAssembly.Module> {
  const packageFile = createRequire(import.meta.url).resolve('@electric-sql/pglite')
  return WebAssembly.compile(await readFile(join(dirname(packageFile), 'pglite.wasm')))
}

function opened(worker: Worker): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => settle(new Error(`no answer within ${openTimeoutMs} ms`)), openTimeoutMs)
    const onMessage = (message: Opened | Failed) =>
      settle(message.kind === 'opened' ? undefined : new Error(message.message))
    const onError = (error: unknown) => settle(error instanceof Error ? error : new Error(String(error)))
    const onExit = (code: number) => settle(new Error(`the database thread ended with code ${code}`))
    const settle = (error: Error | undefined) => {
      clearTimeout(timer)
      worker.off('message', onMessage).off('error', onError).off('exit', onExit)
      // A thread that failed to open may still report how it ended; nobody has to know any more.
      worker.on('error', () => {})
      if (error) reject(error)
      else resolve()
    }
    worker.on('message', onMessage).on('error', onError).on('exit', onExit)
  })
}

/** A parameter as PostgreSQL's text: Date in ISO 8601, bytes in hexadecimal, objects and arrays as JSON. */
function toParameter(value: unknown): string | null {
  if (value === null || value === undefined) return null
  if (typeof value === 'string') return value
  if (value instanceof Date) return value.toISOString()
  if (value instanceof Uint8Array)
    return `\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}`
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}
