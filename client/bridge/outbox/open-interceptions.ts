import type { BatchRecord } from '../../../shared/contract/recorder.js'

/** An interception that has begun and not ended. */
interface Open {
  readonly interception: BatchRecord<'interception'>
  /** settles with the control plane's response */
  readonly recorded: Promise<unknown> | undefined
}

/** The interceptions of an outbox that have begun and not ended, and the users of whom nothing may be kept. */
export class OpenInterceptions {
  readonly #open = new Map<string, Open>()
  /** those of erased users, whose records are dropped when they come */
  readonly #dropped = new Map<string, Open>()
  readonly #erasedUsers = new Set<string>()

  get size(): number {
    return this.#open.size + this.#dropped.size
  }

  has(id: string): boolean {
    return this.#open.has(id)
  }

  /** Returns whether a user was erased: an interception of this user must not begin. */
  hasErased(userId: string): boolean {
    return this.#erasedUsers.has(userId)
  }

  /** Adds an interception. Returns false, without a change, if its user was erased. */
  begin(interception: BatchRecord<'interception'>, recorded: Promise<unknown> | undefined): boolean {
    if (this.hasErased(interception.initiatorId)) return false
    this.#open.set(interception.id, { interception, recorded })
    return true
  }

  /** Removes an interception that ends, and returns it; null if its records are to be dropped. */
  end(id: string): BatchRecord<'interception'> | undefined | null {
    const open = this.#open.get(id)
    this.#open.delete(id)
    return this.#dropped.delete(id) ? null : open?.interception
  }

  /**
   * Lets the records of users be dropped, also those of interceptions under way. Resolves when the control plane has
   * responded to these: it may be storing them.
   */
  async erase(userIds: ReadonlySet<string>): Promise<void> {
    for (const userId of userIds) this.#erasedUsers.add(userId)
    for (const [id, open] of this.#open) {
      if (!userIds.has(open.interception.initiatorId)) continue
      this.#open.delete(id)
      this.#dropped.set(id, open)
    }
    const dropped = [...this.#dropped.values()].filter(({ interception }) => userIds.has(interception.initiatorId))
    await Promise.allSettled(dropped.map(({ recorded }) => recorded))
  }
}

/** Returns the user of records, as far as their interception is known. */
export function userOf(
  records: readonly BatchRecord[],
  interception: BatchRecord<'interception'> | undefined = interceptionIn(records),
): string | undefined {
  return interception?.initiatorId
}

/** Returns the interception among records. */
export function interceptionIn(records: readonly BatchRecord[]): BatchRecord<'interception'> | undefined {
  return records.find(record => record.kind === 'interception')
}
