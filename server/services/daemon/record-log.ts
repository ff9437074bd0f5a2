import { type RecordKind, recordKinds } from '../../../shared/contract/record-kinds.js'
import type { Logger } from '../../../shared/values/log.js'
import type { NormalRecord, StoredRecord } from '../../store/store.js'

/** Writes a record as one log line, `interception log`, with the `record_type`; content and `metadata` are left out. */
export function logRecord<K extends RecordKind>(logger: Logger, { kind, record }: StoredRecord<K>): void {
  logger.info({ record_type: recordKinds[kind].logType, ...loggedFields[kind](record) }, 'interception log')
}

/** Writes an end by the control plane as the same line. */
export function logAbandonedEnd(logger: Logger, { id, endedAt }: { id: string; endedAt: Date }): void {
  const fields = { interceptionId: id, endedAt, errorType: 'unknown', endedBy: 'control_plane' }
  logger.info({ record_type: recordKinds.interceptionEnded.logType, ...fields }, 'interception log')
}

/** Kind → the fields of its log line. */
const loggedFields: { [K in RecordKind]: (record: NormalRecord<K>) => object } = {
  interception: ({ id, metadata: _, ...fields }) => ({ interceptionId: id, ...fields }),
  interceptionEnded: ({ id, endedAt, credentialHint, errorType }) => ({
    interceptionId: id,
    endedAt,
    credentialHint,
    errorType,
  }),
  tokenUsage: ({ metadata: _, ...fields }) => fields,
  promptUsage: ({ metadata: _, prompt, ...fields }) => ({ ...fields, promptLength: prompt.length }),
  toolUsage: ({ metadata: _, input, invocationError, ...fields }) => ({
    ...fields,
    inputLength: input.length,
    failed: invocationError !== undefined,
  }),
  modelThought: ({ metadata: _, content, ...fields }) => ({ ...fields, contentLength: content.length }),
}
