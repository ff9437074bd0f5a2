/** The main thread's side of pglite-worker.js: statements in, rows out. */
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { Worker } from 'node:worker_threads'
import {
  type ChangeListener,
  ChangeListeners,
  type Changes,
  type ChangeTopic,
  changeTopics,
  channelPrefix,
} from '../sql/changes.js'
import type { Pipeline, Statement, StatementResult } from '../sql/pipeline.js'
import { SqlError, threadEnded } from '../sql/sql-error.js'
import type { Failed, Notified, Opened, Request, Response } from './pglite-worker.js'

/** Longest time to open; a first start takes 2.5 to 6 s, the replay of a long write-ahead log some seconds. */
const openTimeoutMs = 60_000
/** Longest time to close before the thread is ended; the data is safe either way. */
const closeTimeoutMs = 10_000

interface Waiting {
  resolve(results: StatementResult[]): void
  reject(error: Error): void
}

/**
 * One PGlite session in a worker thread. Statements run in the order of the calls. When the thread ends, all pending
 * and later calls reject with the cause; the owner decides whether the process ends too.
 */
export class PGliteThread implements Changes {
  readonly #worker: Worker
  readonly #waiting = new Map<number, Waiting>()
  readonly #listeners = new ChangeListeners()
  readonly #exited: Promise<void>
  /** Resolves with the cause when the thread ends without `close()`. */
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
    worker.on('message', (message: Response | Notified) => {
      if (message.kind === 'notified') this.#listeners.notify(message.channel, message.payload)
      else this.#settle(message)
    })
    worker.on('error', error => this.#end(new Error('the database thread failed', { cause: error })))
    worker.on('exit', code => this.#end(new Error(`the database thread ended with code ${code}`)))
  }

  /**
   * Opens the database in `dataDir`, or creates a database if no PG_VERSION exists.
   * @throws Error with PostgreSQL's own words if opening fails, or takes longer than 60 s
   */
  static async open(dataDir: string): Promise<PGliteThread> {
    const worker = new Worker(new URL('./pglite-worker.js', import.meta.url), {
      workerData: { dataDir, code: await postgresCode() },
      // The process's own flags, such as --input-type or a loader, are about its main file.
      execArgv: [],
      // PostgreSQL's log would go to the terminal; the lines that matter come back as errors.
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

  /** The only session of the database, so every change is notified here. */
  onChange(topic: ChangeTopic, listener: ChangeListener): () => void {
    return this.#listeners.add(topic, listener)
  }

  /** Runs one statement; {@link toParameter} says which values a parameter may have. */
  async query(sql: string, parameters: readonly unknown[] = []): Promise<StatementResult> {
    const [result] = await this.run([{ sql, parameters: parameters.map(toParameter) }])
    return result ?? { rows: [], rowCount: 0 }
  }

  /** Runs statements as one transaction, or in the session's transaction; see {@link Pipeline.run}. */
  run(statements: readonly Statement[]): Promise<StatementResult[]> {
    if (this.#ended) return Promise.reject(lostStatement(this.#ended, false))
    return this.#request(id => ({ id, statements }))
  }

  /** Runs the pending statements, closes the database and ends the thread. A second call returns the same promise. */
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
    // The thread may fail instead of responding, and is gone then too.
    await closing.catch(() => {})
    await this.#exited
    clearTimeout(timer)
  }

  #request(make: (id: number) => Request): Promise<StatementResult[]> {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++
      const request = make(id)
      this.#waiting.set(id, { resolve, reject })
      this.#worker.postMessage(request)
    })
  }

  #settle(message: Response): void {
    const waiting = this.#waiting.get(message.id)
    this.#waiting.delete(message.id)
    if (message.kind === 'error') waiting?.reject(new SqlError(message.error))
    else waiting?.resolve(message.results)
  }

  #end(cause: Error): void {
    if (!this.#ended) this.#lose(cause)
    this.#ended ??= cause
    for (const { reject } of this.#waiting.values()) reject(lostStatement(cause, true))
    this.#waiting.clear()
  }
}

/** The error of a statement without a response, because the thread has ended. */
function lostStatement({ message, cause }: Error, mayHaveCommitted: boolean): SqlError {
  return new SqlError({ message, code: threadEnded, mayHaveCommitted, cause })
}

let code: Promise<WebAssembly.Module> | undefined

/**
 * PostgreSQL as WebAssembly. The module is kept, so that threads share V8's compiled code: a first start opens two, one
 * after the other.
 */
export function postgresCode(): Promise<WebAssembly.Module> {
  code ??= compile()
  return code
}

async function compile(): Promise<WebAssembly.Module> {
  const packageFile = createRequire(import.meta.url).resolve('@electric-sql/pglite')
  const bytes = await readFile(join(dirname(packageFile), 'pglite.wasm'))
  for (const flag of compilerFlags) setFlagsFromString(flag)
  return WebAssembly.compile(bytes)
}

/**
 * A start runs most of PostgreSQL once, and V8 would compile all of it, and optimise what a start calls often: 40 MB
 * that stay with the process, and a third of the CPU time. Each function is compiled at its first call now, and
 * optimised after a hundred times as much work (V8's own budget is 1.8 million), so a busy database is as fast as
 * before. The flags are the process's, and V8 reads them when it compiles.
 */
const compilerFlags = ['--wasm-lazy-compilation', '--wasm-tiering-budget=200000000']

function opened(worker: Worker): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => settle(new Error(`no response within ${openTimeoutMs} ms`)), openTimeoutMs)
    const onMessage = (message: Opened | Failed) =>
      settle(message.kind === 'opened' ? undefined : new Error(message.message))
    const onError = (error: unknown) => settle(error instanceof Error ? error : new Error(String(error)))
    const onExit = (code: number) => settle(new Error(`the database thread ended with code ${code}`))
    const settle = (error: Error | undefined) => {
      clearTimeout(timer)
      worker.off('message', onMessage).off('error', onError).off('exit', onExit)
      // A thread that failed to open may still report its end, which no caller needs any more.
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
