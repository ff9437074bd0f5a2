/** This server process among those of its database. */
import { randomUUID } from 'node:crypto'
import { presence } from '../../../shared/contract/limits.js'
import type { Logger } from '../../../shared/values/log.js'
import type { ReplicaStore } from '../../store/store.js'

/** Settings of {@link ReplicaPresence}. */
export interface ReplicaPresenceOptions {
  store: ReplicaStore
  logger: Logger
  /** base URL at which the other servers reach this one; undefined: they do not, and no row says that it lives */
  advertiseUrl: string | undefined
}

/**
 * The id of a server process, by which rows name it, and the note that it lives.
 *
 * ```
 * new ──start()──▶ noted, every 10 s ──stop()──▶ forgotten
 * ```
 */
export class ReplicaPresence {
  /** one for each process, and for all that it writes: a restarted server is another one */
  readonly id = randomUUID()
  readonly #options: ReplicaPresenceOptions
  #timer: NodeJS.Timeout | undefined
  #noting: Promise<void> | undefined
  #isStopped = false

  constructor(options: ReplicaPresenceOptions) {
    this.#options = options
  }

  /** Whether the other servers reach this one. */
  get isAdvertised(): boolean {
    return this.#options.advertiseUrl !== undefined
  }

  /** Notes from now on that this process lives. Never throws: a note that fails is logged, and the next one follows. */
  start(): void {
    const { advertiseUrl, logger, store } = this.#options
    if (advertiseUrl === undefined || this.#timer || this.#isStopped) return
    const { id } = this
    const note = (work: () => Promise<void>) => {
      // A store that hangs gets no second note.
      this.#noting ??= work()
        .catch((error: unknown) => logger.warn({ err: error }, 'it could not be stored that this server lives'))
        .finally(() => {
          this.#noting = undefined
        })
    }
    note(async () => {
      await store.recordReplicaSeen({ id, advertiseUrl })
      // Rows of servers that were killed would stay for ever.
      await store.forgetReplicas({ id: null, notSeenForMs: presence.replicaGoneAfterMs })
    })
    this.#timer = setInterval(() => note(() => store.recordReplicaSeen({ id, advertiseUrl })), presence.replicaSeenMs)
    this.#timer.unref()
  }

  /** Stores that this process is gone. Resolves after two seconds at most, since a store that hangs ends no server. */
  async stop(): Promise<void> {
    if (this.#isStopped) return
    this.#isStopped = true
    if (!this.#timer) return
    clearInterval(this.#timer)
    const { store, logger } = this.#options
    const forgotten = Promise.resolve(this.#noting).then(() =>
      store.forgetReplicas({ id: this.id, notSeenForMs: presence.replicaGoneAfterMs }),
    )
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>(resolve => {
      timer = setTimeout(resolve, presence.stopMs)
    })
    const logged = forgotten.catch((error: unknown) =>
      logger.warn({ err: error }, 'it could not be stored that this server is gone'),
    )
    await Promise.race([logged, late])
    clearTimeout(timer)
  }
}
