/** The audit entries about operators who read the chats of users. */
import type { AuditAction } from '../../../shared/contract/admin/audit.js'
import type { JsonObject } from '../../../shared/values/text.js'
import type { AuditedWrites } from '../../store/store.js'
import { auditEntry } from '../audit-entry.js'

/** Time within which a server adds one entry about an operator and a chat: a page that polls must not fill the log. */
const windowMs = 60_000

/** One read of an operator. */
export interface TracedRead {
  /** the name of the operator */
  actor: string
  action: Extract<AuditAction, 'chats.read' | 'chats.list'>
  /** the id of a chat; null for a list */
  target: string | null
  details: JsonObject | null
}

/** Settings of {@link ReadTrace}. */
export interface ReadTraceOptions {
  store: AuditedWrites
  /** a clock in ms that never goes back; a test's clock */
  clockMs?: (() => number) | undefined
}

/** Adds one entry for each operator, action and chat a minute. */
export class ReadTrace {
  readonly #store: AuditedWrites
  readonly #clockMs: () => number
  /** entries of the last minute, oldest first; a read beside the first one waits for the same entry */
  readonly #noted = new Map<string, { atMs: number; stored: Promise<void> }>()

  constructor({ store, clockMs = () => performance.now() }: ReadTraceOptions) {
    this.#store = store
    this.#clockMs = clockMs
  }

  /** Resolves when the entry of a read is stored. Rejects as the store does; the next read tries again. */
  note(read: TracedRead): Promise<void> {
    const { actor, action, target, details } = read
    const key = JSON.stringify([actor, action, target, details])
    const atMs = this.#clockMs()
    this.#forget(atMs)
    const earlier = this.#noted.get(key)
    if (earlier) return earlier.stored
    const stored = this.#store.audited(
      async () => undefined,
      () => auditEntry(actor, action, target, details),
    )
    const noted = { atMs, stored }
    this.#noted.set(key, noted)
    return stored.catch((error: unknown) => {
      if (this.#noted.get(key) === noted) this.#noted.delete(key)
      throw error
    })
  }

  #forget(now: number): void {
    for (const [key, { atMs }] of this.#noted) {
      if (now - atMs < windowMs) return
      this.#noted.delete(key)
    }
  }
}
