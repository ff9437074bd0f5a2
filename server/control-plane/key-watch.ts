import { serviceCloseCodes } from '../../shared/contract/close-codes.js'
import type { ErrorReason } from '../../shared/contract/error-reasons.js'
import type { CloseReason } from '../../shared/rpc/duplex.js'
import { times } from '../../shared/rpc/limits.js'
import type { Logger } from '../../shared/values/log.js'

export interface KeyWatchOptions {
  /** returns the keys among these that are no longer valid */
  findInvalid(ids: readonly string[]): Promise<readonly string[]>
  /** Calls back after any process revoked a key; returns the function that ends the watch. Default: no notification. */
  onChange?(listener: () => void): () => void
  logger: Logger
  /**
   * time between two checks without a notification: keys expire, and a notification may be lost; default one heartbeat
   */
  intervalMs?: number
}

/**
 * Closes the connections of keys that were revoked, have expired or were deleted: at once where the store notifies, or
 * within one heartbeat.
 */
export class KeyWatch {
  readonly #options: KeyWatchOptions
  readonly #connections = new Map<string, Set<Closable>>()
  readonly #stopListening: (() => void) | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(options: KeyWatchOptions) {
    this.#options = options
    this.#stopListening = options.onChange?.(() => {
      if (this.#timer === undefined) return
      clearTimeout(this.#timer)
      void this.#check()
    })
  }

  /** Watches one connection until its signal aborts. */
  add(keyId: string, connection: Closable): void {
    if (connection.signal.aborted) return
    let connections = this.#connections.get(keyId)
    if (!connections) {
      connections = new Set()
      this.#connections.set(keyId, connections)
    }
    connections.add(connection)
    connection.signal.addEventListener('abort', () => this.#remove(keyId, connection), { once: true })
    this.#timer ??= this.#schedule()
  }

  stop(): void {
    this.#stopListening?.()
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#connections.clear()
  }

  #remove(keyId: string, connection: Closable): void {
    const connections = this.#connections.get(keyId)
    connections?.delete(connection)
    if (connections?.size === 0) this.#connections.delete(keyId)
  }

  #schedule(): NodeJS.Timeout {
    return setTimeout(() => void this.#check(), this.#options.intervalMs ?? times.pingIntervalMs).unref()
  }

  async #check(): Promise<void> {
    const { findInvalid, logger } = this.#options
    const timer = this.#timer
    if (this.#connections.size === 0) {
      this.#timer = undefined
      return
    }
    try {
      for (const id of await findInvalid([...this.#connections.keys()])) this.#close(id)
    } catch (error) {
      // A silent store is no reason to cut peers off; the next check follows.
      logger.warn({ err: error }, 'the keys of connections could not be checked')
    }
    if (this.#timer !== timer) return // stopped meanwhile
    this.#timer = this.#schedule()
  }

  #close(id: string): void {
    for (const connection of [...(this.#connections.get(id) ?? [])]) {
      connection.close({
        code: serviceCloseCodes.keyRevoked,
        message: 'the key may not be used any more',
        reason: 'key_revoked' satisfies ErrorReason,
      })
    }
  }
}

interface Closable {
  readonly signal: AbortSignal
  close(reason: CloseReason): void
}
