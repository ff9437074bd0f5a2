import { Socket } from 'node:net'
import pg, { type ClientConfig } from 'pg'
import { abortablePause } from '../../../shared/values/abortable.js'
import type { Logger } from '../../../shared/values/log.js'
import {
  type ChangeListener,
  ChangeListeners,
  type Changes,
  type ChangeTopic,
  changeTopics,
  channelPrefix,
} from '../sql/changes.js'
import { toSqlError } from './postgres-dialect.js'

export interface PostgresListenerOptions {
  connection: ClientConfig
  logger: Logger
  /** time between two checks that the connection lives, and the longest wait for a response */
  checkMs: number
}

const reconnectMinMs = 50
const reconnectMaxMs = 5_000

/**
 * Listens for NOTIFY on a separate connection, and opens a new connection after every loss. All listeners are then
 * notified once, because notifications may have been missed. An unanswered check finds a hanging connection.
 */
export class PostgresListener implements Changes {
  readonly #options: PostgresListenerOptions
  readonly #listeners = new ChangeListeners()
  readonly #running: Promise<void>
  readonly #stop = new AbortController()

  constructor(options: PostgresListenerOptions) {
    this.#options = options
    this.#running = this.#run()
  }

  onChange(topic: ChangeTopic, listener: ChangeListener): () => void {
    return this.#listeners.add(topic, listener)
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    const { logger } = this.#options
    let delayMs = reconnectMinMs
    let isFirst = true
    while (!signal.aborted) {
      try {
        await this.#listen(() => {
          if (!isFirst) logger.info({}, 'listening for changes in PostgreSQL again')
          // Also the first time: earlier listeners may have missed a notification.
          this.#listeners.notifyAll()
          isFirst = false
          delayMs = reconnectMinMs
        })
      } catch (error) {
        if (signal.aborted) return
        logger.warn({ err: toSqlError(error) }, 'changes in PostgreSQL are not noticed until the connection is back')
      }
      await abortablePause(delayMs * (0.5 + Math.random() / 2), signal)
      delayMs = Math.min(delayMs * 2, reconnectMaxMs)
    }
  }

  /** Listens until `close()`; rejects if the connection is lost. */
  async #listen(onListening: () => void): Promise<void> {
    const { connection, checkMs } = this.#options
    const { signal } = this.#stop
    const socket = new Socket()
    const client = new pg.Client({ ...connection, query_timeout: checkMs, stream: () => socket })
    const lost = new Promise<never>((_, reject) => {
      client.on('error', reject)
      client.on('end', () => reject(new Error('the connection ended')))
    })
    lost.catch(() => {}) // it is raced below; it may also come after that
    client.on('notification', ({ channel, payload }) => this.#listeners.notify(channel, payload))
    try {
      await Promise.race([client.connect(), lost])
      for (const topic of changeTopics) await client.query(`listen ${channelPrefix}${topic}`)
      onListening()
      while (!signal.aborted) {
        await Promise.race([abortablePause(checkMs, signal), lost])
        if (!signal.aborted) await Promise.race([client.query('select 1'), lost])
      }
    } finally {
      socket.destroy()
    }
  }
}
