/** The questions about erasures that reach the outboxes of daemons. */

/** The outbox of a daemon, which may hold records that the store does not have. */
export interface DaemonOutbox {
  /** a UUID that stays with the outbox: the same in every process that uses it */
  outboxId: string
  /** null for a daemon in the process of a server */
  daemonKeyId: string | null
}

/** A user whose records the outboxes of all daemons have to erase. */
export interface Erasure {
  erasureId: string
  userId: string
}

/** The times by which {@link OutboxErasureStore.readErasure} judges whether a daemon may still hold records. */
export interface ErasureHorizon {
  /** an outbox on disk, and a daemon of a version without outboxes, that was not seen since then is taken as lost */
  seenSince: Date
  /** the same for an outbox in memory */
  memorySeenSince: Date
  /** an outbox that was seen before is not connected, whatever its row says: its server died */
  connectedSince: Date
}

/** A daemon that may hold records of an erased user. */
export interface UnreachedDaemon {
  daemonKeyId: string | null
  /** the name of its key */
  name: string | null
  lastSeenAt: Date
  isConnected: boolean
}

/** How far an erasure has come. */
export interface ErasureState {
  /** number of outboxes that have erased the user */
  confirmed: number
  /** number of records that they removed */
  records: number
  /** one row for each outbox without a confirmation, and for each key whose daemon has never named an outbox */
  unreached: UnreachedDaemon[]
}

/** The erasures that outboxes have to confirm. */
export interface OutboxErasureStore {
  /**
   * Notes that a daemon watches for the erasures that its outbox has not confirmed. The newest watch counts.
   * @param watch a UUID of the subscription
   */
  recordOutboxWatched(outbox: DaemonOutbox & { isDurable: boolean }, seen: { watch: string; at: Date }): Promise<void>
  /** Notes the end of a watch, unless a newer watch of the outbox was noted. */
  recordOutboxLeft(outboxId: string, seen: { watch: string; at: Date }): Promise<void>
  /** Notes that a daemon ends and that its outbox holds nothing of any user, until the outbox is watched again. */
  recordOutboxEmpty(outbox: DaemonOutbox, at: Date): Promise<void>
  /**
   * Begins an erasure of a user, in place of earlier ones that are finished; an unfinished one goes on.
   * @returns the id of the erasure
   */
  beginErasure(erasure: Erasure & { at: Date }): Promise<string>
  /** Returns the newest erasure of a user. */
  findErasure(userId: string): Promise<string | null>
  /** Returns the erasures that an outbox has not confirmed, the oldest first. */
  listErasures(query: { outboxId: string; limit: number }): Promise<Erasure[]>
  /**
   * Notes that an outbox holds nothing of erased users any more; erasures that are not stored are left out. Returns
   * null, without a change, for an outbox that was never watched by a daemon with this key.
   *
   * An erasure whose purge is finished needs `areRecordsErased`, which says that the interceptions of its user were
   * erased after the outbox had handed over its last one. Without that such an erasure is returned, and not confirmed.
   */
  confirmErasures(
    outbox: DaemonOutbox,
    confirmed: { erasures: readonly { erasureId: string; records: number }[]; areRecordsErased?: boolean },
  ): Promise<Erasure[] | null>
  /** Returns how far an erasure has come. */
  readErasure(erasureId: string, horizon: ErasureHorizon): Promise<ErasureState>
  /** Forgets erasures that began before a time, and outboxes that were not seen since another. */
  forgetErasures(query: { begunBefore: Date; outboxesSeenBefore: Date }): Promise<void>
}
