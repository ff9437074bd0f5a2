/** The questions about recorded requests: storing, reading and erasing them, and the feed. */
import type { Interception, InterceptionDetail } from '../../../shared/contract/admin/interceptions.js'
import type { UsageGroup, UsageKey, UsageRow } from '../../../shared/contract/admin/usage.js'
import type { WatchedRecord } from '../../../shared/contract/admin/watch.js'
import type { RecordKind } from '../../../shared/contract/record-kinds.js'
import type { CheckedRecord, EndedBy, InterceptionKind, RecordOutcome } from '../../../shared/contract/recorder.js'
import type { RecordCost } from './prices.js'

/** The feed: every stored record in the order of the commits. */
export interface FeedStore {
  /** Returns the position of the record that was committed last; 0 for an empty feed. */
  feedEnd(): Promise<number>
  /**
   * Returns the records committed behind a position, in commit order, at most `limit`, without erased records. `end` is
   * the position of the next read; `isWhole` says that no further record was committed. `known: false` says that
   * records behind the position have been erased from the feed.
   */
  readFeed(query: { after: number; limit: number }): Promise<FeedPage>
}

/** A page of the feed, as {@link FeedStore.readFeed} returns it. */
export interface FeedPage {
  known: boolean
  events: { position: number; record: WatchedRecord }[]
  end: number
  isWhole: boolean
}

/**
 * Kind → a checked record in its one normal form: an interception has a provider name, and its user agent stands in the
 * metadata (`userAgentKey`).
 */
export type NormalRecords = {
  [K in RecordKind]: K extends 'interception'
    ? Omit<CheckedRecord<'interception'>, 'userAgent' | 'providerName'> & { providerName: string }
    : CheckedRecord<K>
}

/** A checked record in its one normal form. */
export type NormalRecord<K extends RecordKind = RecordKind> = NormalRecords[K]

/**
 * A normalised record and the SHA-256 of its content, which decides whether a repeat is the same. `carrier` and `cost`
 * are no part of the content: those of the record that is stored first stay.
 */
export type StoredRecord<K extends RecordKind = RecordKind> = {
  [P in K]: { kind: P; record: NormalRecords[P]; contentHash: Uint8Array } & (P extends 'interception'
    ? { carrier?: Carrier | undefined }
    : P extends 'tokenUsage'
      ? { cost?: RecordCost | undefined }
      : unknown)
}[K]

/** The daemon that carried a request, as its connection says. */
export interface Carrier {
  /** of a remote daemon */
  daemonKeyId?: string | undefined
  /** a UUID of the daemon's process */
  daemonInstance?: string | undefined
}

/** Storing the records that daemons report. */
export interface RecordStore {
  /**
   * Stores records in order; a rejected record does not stop the others. Concurrent calls may share a transaction, in
   * the order of the calls; each gets its own outcomes. The records of a call are in one transaction, unless one stands
   * before its interception, or the database does not take one. Returns one outcome per record:
   * - same id and kind, same hash: ok, nothing changes; other hash: `CONFLICT`
   * - a child or an end whose interception neither is stored nor stands earlier in `records`: `NOT_FOUND`
   * - an end: the first end of a daemon wins, a later end is ok and changes nothing; its hint is applied to
   *   `centralized` rows only
   * - content that the database does not take, though it passed the checks: `BAD_REQUEST`
   *
   * Lineage: the parent of an interception with a `correlatingToolCallId` is the interception of the newest tool usage
   * (by `createdAt`, then id) of the same initiator with that `toolCallId`, other than the interception's own; without
   * one, that of the newest usage with its `previousMsgId`, or the one before it in its `conversationId`. The root is
   * the parent's root or else the parent. Both are the same whichever record is stored first, also by concurrent calls.
   * Where links form a cycle, the link of the cycle's oldest interception (by `startedAt`, then id) is left out.
   */
  record(records: readonly StoredRecord[]): Promise<RecordOutcome[]>
}

/** Reading interceptions. */
export interface InterceptionStore {
  /**
   * Returns the newest interceptions first, by `startedAt` and then id. The page begins behind the position `before`.
   */
  listInterceptions(query: InterceptionQuery): Promise<Interception[]>
  getInterception(id: string): Promise<InterceptionDetail | null>
}

/** Filters of a list of interceptions, all of which must hold; `limit` is a number of rows. */
export interface InterceptionQuery {
  limit: number
  before?: { startedAt: Date; id: string } | undefined
  initiatorId?: string | undefined
  /** matches the type or the configured name */
  provider?: string | undefined
  model?: string | undefined
  client?: string | undefined
  clientSessionId?: string | undefined
  errorType?: string | undefined
  endedBy?: EndedBy | undefined
  interceptionKind?: InterceptionKind | undefined
  /** leaves out the requests that clients make for themselves (`internalRequestKinds`) */
  excludeInternal?: boolean | undefined
  /** `from` ≤ startedAt < `to` */
  from?: Date | undefined
  to?: Date | undefined
}

/** Reading totals. */
export interface UsageStore {
  /**
   * Returns interceptions and tokens by the groups in `by`, from one snapshot; one row without groups. An interception
   * counts once, for any number of token usages. Rows are sorted by day, newest first, then all tokens together, most
   * first, then interceptions, then the groups.
   */
  readUsage(query: UsageQuery): Promise<UsageRow[]>
  /**
   * Returns the same rows in the order of their groups, at most `limit` of those behind the row `after`. Each page is
   * from a snapshot of its own.
   */
  readUsagePage(query: UsageQuery, after: UsageKey | undefined): Promise<UsageRow[]>
}

/** The groups and filters of totals; `limit` is a number of rows. */
export interface UsageQuery
  extends Pick<
    InterceptionQuery,
    'limit' | 'initiatorId' | 'provider' | 'model' | 'client' | 'endedBy' | 'interceptionKind' | 'from' | 'to'
  > {
  /** id of an API key */
  key?: string | undefined
  by: readonly UsageGroup[]
}

/** Counts of erased rows: interceptions, and the records that belonged to interceptions. */
export interface Erased {
  interceptions: number
  records: number
}

/**
 * Erases in batches of at most `limit` rows, the oldest first, each batch in one transaction. An interception under a
 * writer's lock is left for a later batch, so no batch waits for a recorder. A late child is `NOT_FOUND`; the id of an
 * erased interception stays in the `parentId` of its continuations.
 */
export interface ErasureStore {
  /**
   * Erases interceptions that started before `startedBefore` and have ended, or started before `unendedBefore`. Returns
   * null while another process erases. One process erases at a time, and a dead process blocks no other.
   */
  eraseOldInterceptions(query: { startedBefore: Date; unendedBefore: Date; limit: number }): Promise<Erased | null>
  /** Erases interceptions of one user. */
  eraseInterceptionsOf(query: { initiatorId: string; limit: number }): Promise<Erased>
  /**
   * Erases rows of the feed that were noted before a time, from the feed's begin, and returns the number of rows.
   * {@link FeedStore.readFeed} reports the gap from then on. Returns null as above.
   */
  trimFeed(query: { notedBefore: Date; limit: number }): Promise<number | null>
}

/** Erasing one user: {@link ErasureStore} erases the interceptions, this the rest. */
export interface PurgeStore {
  /**
   * Returns whether the store holds anything of a user: the user, keys, links or interceptions. The audit log does not
   * count.
   */
  holdsUser(id: string): Promise<boolean>
  /** Marks the user as deleted and lets unexpired API keys expire at `at`. Returns whether anything changed. */
  rejectUser(id: string, at: Date): Promise<boolean>
  /**
   * Deletes the user's API keys and links, and the user, replaces the user's name by the id in audit entries, and
   * finishes the user's erasures.
   * Returns null, without a change, while an interception, a conversation or a chat of the user is stored.
   */
  eraseUser(id: string): Promise<{ apiKeys: number; links: number } | null>
}
