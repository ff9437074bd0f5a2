import { errorReasonOf } from '../../../shared/contract/error-reasons.js'
import { cutContent } from '../../../shared/contract/fields.js'
import { recordLimits } from '../../../shared/contract/limits.js'
import { type RecordKind, recordKinds } from '../../../shared/contract/record-kinds.js'
import type { BatchRecord, RecordOutcome } from '../../../shared/contract/recorder.js'
import { errorCodeOf } from '../../../shared/rpc/errors.js'
import type { ControlPlane, RecordProcedure } from '../control-plane/control-plane.js'
import type { SendRecords } from './outbox.js'

/**
 * Returns a function that sends records: several as one batch, a single one through its own procedure, as it may be
 * larger than a batch.
 */
export function createRecordSender(client: Pick<ControlPlane, 'recorder'>): SendRecords {
  return async (records, signal) => {
    const [only] = records
    if (only && records.length === 1) return [await sendOne(client, only, signal)]
    const { results } = await client.recorder.recordBatch.mutate({ records: [...records] }, { signal })
    if (results.length === records.length) return results
    throw new Error(`recordBatch returned ${results.length} outcomes for ${records.length} records`)
  }
}

async function sendOne(
  client: Pick<ControlPlane, 'recorder'>,
  record: BatchRecord,
  signal: AbortSignal,
): Promise<RecordOutcome> {
  try {
    await callOwnProcedure(client, record, signal)
    return { ok: true }
  } catch (error) {
    const shorter = errorReasonOf(error) === 'message_too_large' ? shorten(record) : record
    if (shorter !== record) return sendOne(client, shorter, signal)
    const code = rejectionCode(error)
    if (!code) throw error
    return { ok: false, code, message: error instanceof Error ? error.message : String(error) }
  }
}

/**
 * Cuts the content of a record whose JSON text is too large for a message, because the content is full of characters
 * that JSON escapes. The same record is always cut at the same place, so that a repeat has the same content.
 */
function shorten(record: BatchRecord): BatchRecord {
  return cutContent(record, recordKinds[record.kind].contentFields, recordLimits.maxEscapedContentBytes)
}

function callOwnProcedure(
  { recorder }: Pick<ControlPlane, 'recorder'>,
  { kind, ...record }: BatchRecord,
  signal: AbortSignal,
): Promise<unknown> {
  const procedure: RecordProcedure<RecordKind> = recorder[recordKinds[kind].procedure]
  return procedure.mutate(record, { signal })
}

/**
 * Returns the code of an error that rejects the record for good; undefined for any other error. The transport uses some
 * of these codes for errors that pass.
 */
export function rejectionCode(error: unknown): 'BAD_REQUEST' | 'NOT_FOUND' | 'CONFLICT' | undefined {
  switch (errorCodeOf(error)) {
    case 'BAD_REQUEST':
    case 'PAYLOAD_TOO_LARGE':
      return 'BAD_REQUEST'
    case 'NOT_FOUND':
      return errorReasonOf(error) === 'unknown_interception' ? 'NOT_FOUND' : undefined
    case 'CONFLICT':
      return errorReasonOf(error) === 'content_differs' ? 'CONFLICT' : undefined
    default:
      return undefined
  }
}
