/**
 * The kinds of records that daemons report, and everything that both ends know of a kind. Each end has tables of its
 * own that are keyed by the same kinds (schemas, log fields, SQL), so the compiler names every place that lacks a new
 * row.
 */

interface RecordKindRow {
  /** the recorder's procedure for one record of this kind */
  readonly procedure: `record${string}`
  /** its words in messages */
  readonly label: string
  /** `record_type` of its log line */
  readonly logType: string
  /** fields with words of a user, a model or a tool: cut to a limit when they are too long, and never logged */
  readonly contentFields: readonly string[]
}

/** Kind → row. The kind is the tag of a record in a batch, in the feed and in `admin.watch`. */
export const recordKinds = {
  interception: {
    procedure: 'recordInterception',
    label: 'interception',
    logType: 'interception_start',
    contentFields: [],
  },
  interceptionEnded: {
    procedure: 'recordInterceptionEnded',
    label: 'end',
    logType: 'interception_end',
    contentFields: [],
  },
  tokenUsage: {
    procedure: 'recordTokenUsage',
    label: 'token usage',
    logType: 'token_usage',
    contentFields: [],
  },
  promptUsage: {
    procedure: 'recordPromptUsage',
    label: 'prompt usage',
    logType: 'prompt_usage',
    contentFields: ['prompt'],
  },
  toolUsage: {
    procedure: 'recordToolUsage',
    label: 'tool usage',
    logType: 'tool_usage',
    contentFields: ['input', 'invocationError'],
  },
  modelThought: {
    procedure: 'recordModelThought',
    label: 'model thought',
    logType: 'model_thought',
    contentFields: ['content'],
  },
} as const satisfies Record<string, RecordKindRow>

/** A kind of record. */
export type RecordKind = keyof typeof recordKinds

/** The name of the recorder's procedure for one record of a kind. */
export type RecordProcedureName<K extends RecordKind = RecordKind> = (typeof recordKinds)[K]['procedure']

/** Returns whether a value from outside names a kind. */
export function isRecordKind(value: unknown): value is RecordKind {
  return typeof value === 'string' && Object.hasOwn(recordKinds, value)
}

/** Returns the id of the interception that a record is, ends, or belongs to. */
export function interceptionIdOf(record: { id: string; interceptionId?: string }): string {
  return record.interceptionId ?? record.id
}
