import { errorCodeOf, errorReasonOf } from '../../shared/errors.js'
import type { BatchRecord, RecordOutcome } from '../../shared/recorder.js'
import type { ControlPlane } from './control-plane.js'
import type { SendRecords } from './outbox.js'

/** Sends records over the recorder's procedures: several as one batch, one through its own (it may be larger than a batch). */
export function createRecordSender(client: Pick<ControlPlane, 'recorder'>): SendRecords {
  return async (records, signal) => {
    const [only] = records
    if (only && records.length === 1) return [await sendOne(client, only, signal)]
    const { results } = await client.recorder.recordBatch.mutate({ records: [...records] }, { signal })
    if (results.length === records.length) return results
    throw new Error(`recordBatch answered ${results.length} outcomes to ${records.length} records`)
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
    const code = refusalOf(error)
    if (!code) throw error
    return { ok: false, code, message: error instanceof Error ? error.message : String(error) }
  }
}

function callOwnProcedure(
  { recorder }: Pick<ControlPlane, 'recorder'>,
  tagged: BatchRecord,
  signal: AbortSignal,
): Promise<unknown> {
  switch (tagged.kind) {
    case 'interception': {
      const { kind: _, ...record } = tagged
      return recorder.recordInterception.mutate(record, { signal })
    }
    case 'interceptionEnded': {
      const { kind: _, ...record } = tagged
      return recorder.recordInterceptionEnded.mutate(record, { signal })
    }
    case 'tokenUsage': {
      const { kind: _, ...record } = tagged
      return recorder.recordTokenUsage.mutate(record, { signal })
    }
    case 'promptUsage': {
      const { kind: _, ...record } = tagged
      return recorder.recordPromptUsage.mutate(record, { signal })
    }
    case 'toolUsage': {
      const { kind: _, ...record } = tagged
      return recorder.recordToolUsage.mutate(record, { signal })
    }
    case 'modelThought': {
      const { kind: _, ...record } = tagged
      return recorder.recordModelThought.mutate(record, { signal })
    }
  }
}

/** The code of an error that says the record itself will never be taken; the transport uses some of these codes for passing faults. */
function refusalOf(error: unknown): 'BAD_REQUEST' | 'NOT_FOUND' | 'CONFLICT' | undefined {
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
