/** The questions about daemons that are gone, and about the interceptions that they have left without an end. */

/** The process of a daemon. */
export interface DaemonProcess {
  daemonInstance: string
  /** null for a daemon in the process of a server */
  daemonKeyId: string | null
}

/** An absent daemon, as its row says. */
export interface AbsentDaemon {
  daemonInstance: string
  lastSeenAt: Date
  /** a server that had a connection, and has not noted the connection's end */
  isConnected: boolean
  /** a successor has declared it gone */
  isDeclaredGone: boolean
}

/**
 * The presence of daemons. The row of a daemon belongs to the key that it was noted with first; notes with another key
 * change nothing.
 */
export interface DaemonInstanceStore {
  /**
   * Notes that daemons are connected to a server, and may leave interceptions without an end. A new connection says
   * that a daemon is not gone, whatever was declared; a note that renews another does not: the server may not know yet
   * that the connection is dead.
   */
  recordDaemonsPresent(daemons: readonly DaemonProcess[], seen: { server: string; at: Date }): Promise<void>
  /** Notes that daemons were connected to a server until `at`. */
  recordDaemonsLeft(daemonInstances: readonly string[], seen: { server: string; at: Date }): Promise<void>
  /**
   * Adds the daemons of stored interceptions that no server has noted, as seen at `at`: of an older version, or of a
   * server that died first.
   */
  recordUnnotedDaemons(at: Date): Promise<void>
  /**
   * Returns the daemons that were not seen since `notSeenSince`, and those that were declared gone; only daemons whose
   * interceptions may lack an end. A daemon with an interception that began between `notSeenSince` and `at` lives: it
   * is connected to a server of an older version, which notes nothing.
   */
  listAbsentDaemons(query: { notSeenSince: Date; at: Date; limit: number }): Promise<AbsentDaemon[]>
  /**
   * Notes that daemons are gone, as a daemon with the same key says. Returns those whose interceptions may lack an end.
   * Daemons that have left no interception are not noted.
   */
  declareDaemonsGone(
    daemonInstances: readonly string[],
    declared: { daemonKeyId: string | null; at: Date },
  ): Promise<AbsentDaemon[]>
  /** Notes that all interceptions of a daemon have an end, unless the daemon was seen again since `lastSeenAt`. */
  settleDaemon(daemon: { daemonInstance: string; lastSeenAt: Date; at: Date }): Promise<void>
  /** Forgets daemons that were not seen since a time, and of which no interception is stored. Returns their number. */
  forgetDaemons(query: { notSeenSince: Date }): Promise<number>
}

/** The position of an interception in the order by `startedAt`, then id. */
export interface InterceptionPosition {
  startedAt: Date
  id: string
}

/** A part of the interceptions of a daemon, newest first. */
export interface OpenInterceptionsQuery {
  /** null: interceptions that name no daemon */
  daemonInstance: string | null
  /** absent: of any key, or of none */
  daemonKeyId?: string | null | undefined
  /** the part begins behind this position */
  before?: InterceptionPosition | undefined
  /** `startedFrom` ≤ startedAt < `startedBefore` */
  startedFrom?: Date | undefined
  startedBefore?: Date | undefined
  /** interceptions that are read, open or not */
  limit: number
}

/** The result for a part. */
export interface EndedPart {
  /** the interceptions that the call has ended */
  ended: { id: string; endedAt: Date }[]
  /** open interceptions that a writer had locked: they are left as they are */
  skipped: number
  /** the last position of the part; null if it was the last part */
  next: InterceptionPosition | null
}

/** Ends by the control plane. */
export interface EndStore {
  /**
   * Ends the open interceptions of a part, in one transaction that waits for nobody: with `errorType` `unknown`,
   * `endedBy` `control_plane`, and the time `at`, or that of the start if it is later. The daemon's own end replaces
   * such an end ({@link import('./records.js').RecordStore.record}).
   */
  endOpenInterceptions(query: OpenInterceptionsQuery, end: { at: Date; errorMessage: string }): Promise<EndedPart>
}
