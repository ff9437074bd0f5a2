/** The stream of records as they are stored. */
import { z } from 'zod'
import type { RecordKind } from '../record-kinds.js'
import type { InterceptionKind } from '../recorder.js'
import type { Interception, ModelThought, PromptUsage, TokenUsage, ToolUsage } from './interceptions.js'

/** `lastEventId`: the id of the last event that the caller has seen. Absent: the stream begins now. */
export const watchInput = z.object({ lastEventId: z.string().max(64).optional() }).optional()

/**
 * The end of an interception. An end by the control plane and the daemon's own end after it are two events, which show
 * the end at the moment of the read.
 */
export type InterceptionEnd = Pick<
  Interception & { endedAt: Date },
  'id' | 'endedAt' | 'errorType' | 'errorMessage' | 'credentialHint' | 'endedBy'
>

/**
 * Kind → the fields that `admin.watch` shows of a record. An interception is shown as stored at the moment of the read,
 * perhaps with an end.
 */
export interface WatchedRecords extends Record<RecordKind, { id: string }> {
  interception: Interception
  interceptionEnded: InterceptionEnd
  tokenUsage: TokenUsage
  promptUsage: PromptUsage
  toolUsage: ToolUsage
  modelThought: ModelThought
}

/**
 * A stored record, the record's kind, the name of the user whose request the record belongs to, null for an unknown
 * user, and the kind of the interception.
 */
export type WatchedRecord<K extends RecordKind = RecordKind> = {
  [P in K]: { kind: P; record: WatchedRecords[P]; username: string | null; interceptionKind: InterceptionKind }
}[K]

/**
 * The events of `admin.watch`. `watching` comes first in a stream that begins now: an event id to resume from before
 * the first record.
 */
export type WatchEvent = { kind: 'watching' } | WatchedRecord
