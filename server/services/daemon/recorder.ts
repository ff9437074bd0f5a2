import { type ErrorReason, rpcError } from '../../../shared/contract/error-reasons.js'
import { recordLimits } from '../../../shared/contract/limits.js'
import { isRecordKind, type RecordKind, recordKinds } from '../../../shared/contract/record-kinds.js'
import {
  type BatchRecord,
  type CheckedRecord,
  type ReadyOutput,
  type RecordBatchOutput,
  type RecordedOutput,
  type RecordOutcome,
  recordSchemas,
  userAgentKey,
} from '../../../shared/contract/recorder.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import type { Logger } from '../../../shared/values/log.js'
import type { Carrier, NormalRecord, RecordStore, StoredRecord } from '../../store/store.js'
import { checkInput } from '../check-input.js'
import type { RecordPricer } from '../prices/record-pricer.js'
import { contentHash } from './content-hash.js'
import { jsonBytesAtMost } from './json-bound.js'
import { logRecord } from './record-log.js'

/** A checked record and its kind. */
export type TaggedRecord<K extends RecordKind = RecordKind> = { [P in K]: { kind: P; record: CheckedRecord<P> } }[K]

/**
 * Stores the records of daemons. Every method is idempotent: a repeat of an id with the same content changes nothing.
 * Content is compared by the SHA-256 of the normalised record, and only this file normalises: a blank `providerName`
 * becomes `provider`, and `userAgent` moves to `metadata.request_user_agent`, from where the store reads the value
 * back.
 */
export interface Recorder {
  /** Says whether the store takes writes, by a write that is at most a second old. */
  ready(): Promise<ReadyOutput>
  /**
   * Stores one record.
   * @param carrier the daemon that brought the record
   * @throws RpcError `NOT_FOUND` (unknown_interception), `CONFLICT` (content_differs), or the store's rejection
   */
  record(record: TaggedRecord, carrier?: Carrier): Promise<RecordedOutput>
  /**
   * Checks each record separately, stores the valid records in one transaction, and returns one outcome for each, in
   * order.
   * @throws RpcError `BAD_REQUEST` if the records together are larger than `recordLimits.maxBatchBytes`, or the store's
   *   rejection
   */
  recordBatch(records: readonly BatchRecord[], carrier?: Carrier): Promise<RecordBatchOutput>
}

export interface RecorderOptions {
  store: Pick<RecordStore, 'record'>
  /** Returns whether the store takes writes. Never rejects. */
  isStoreWritable: () => Promise<boolean>
  logger: Logger
  /** each record that the store accepted, repeats too, is also a log line `interception log`, without content */
  structuredLogging?: boolean
  /** sets the costs of records before they are stored */
  recordPricer: Pick<RecordPricer, 'price'>
}

export function createRecorder({
  store,
  isStoreWritable,
  logger,
  structuredLogging = false,
  recordPricer,
}: RecorderOptions): Recorder {
  async function storeRecords(records: StoredRecord[]): Promise<RecordOutcome[]> {
    await recordPricer.price(records)
    const outcomes = await store.record(records)
    if (outcomes.length !== records.length) {
      throw new Error(`the store returned ${outcomes.length} outcomes to ${records.length} records`)
    }
    if (structuredLogging) {
      for (const [index, record] of records.entries()) if (outcomes[index]?.ok) logRecord(logger, record)
    }
    return outcomes
  }

  return {
    ready: async () => ({ isWritable: await isStoreWritable() }),
    async record(record, carrier) {
      const [outcome] = await storeRecords([normalise(record, carrier)])
      if (outcome && !outcome.ok) throw rejection(outcome)
      return {}
    },
    async recordBatch(records, carrier) {
      rejectLargeBatch(records)
      const checked = records.map(record => check(record, carrier))
      const good = checked.filter(isStorable)
      const stored = good.length > 0 ? await storeRecords(good) : []
      const outcomes = stored.values()
      return {
        results: checked.map(result => (isStorable(result) ? (outcomes.next().value ?? missingOutcome()) : result)),
      }
    },
  }
}

type Rejected = Extract<RecordOutcome, { ok: false }>

function isStorable(checked: StoredRecord | Rejected): checked is StoredRecord {
  return !('ok' in checked)
}

function rejection({ code, message }: Rejected): RpcError<ErrorReason> {
  if (code === 'NOT_FOUND') return rpcError('unknown_interception', message)
  if (code === 'CONFLICT') return rpcError('content_differs', message)
  return new RpcError(code, message)
}

function missingOutcome(): never {
  throw new Error('the store returned fewer outcomes than it was given records')
}

/** A record of a batch, ready for the store, or the reason for its rejection. */
function check(input: unknown, carrier: Carrier | undefined): StoredRecord | Rejected {
  try {
    return normalise(checkTagged(input), carrier)
  } catch (error) {
    if (error instanceof RpcError && error.code === 'BAD_REQUEST') {
      return { ok: false, code: error.code, message: error.message }
    }
    throw error
  }
}

function checkTagged(input: unknown): TaggedRecord {
  const kind: unknown = typeof input === 'object' && input !== null && 'kind' in input ? input.kind : undefined
  if (!isRecordKind(kind)) {
    throw new RpcError('BAD_REQUEST', `kind: must be one of ${Object.keys(recordKinds).join(', ')}`)
  }
  return { kind, record: checkInput(recordSchemas[kind], input) } as TaggedRecord // the schema of this kind
}

function normalise(tagged: TaggedRecord, carrier: Carrier | undefined): StoredRecord {
  if (tagged.kind !== 'interception') return { contentHash: contentHash(tagged.record), ...tagged }
  const { userAgent, providerName, interceptionKind, ...rest } = tagged.record
  const record: NormalRecord<'interception'> = {
    providerName: providerName?.trim() ? providerName : rest.provider,
    ...rest,
  }
  // The default is left out, so that records have the hash that servers below 1.6 give them.
  if (interceptionKind === 'mcp') record.interceptionKind = interceptionKind
  if (userAgent !== undefined) record.metadata = { ...rest.metadata, [userAgentKey]: userAgent }
  return { kind: tagged.kind, record, contentHash: contentHash(record), carrier }
}

/**
 * Counts each record as its JSON text, as the outbox does for the sizes of batches. The texts are made only if the
 * records could be too large.
 */
function rejectLargeBatch(records: readonly unknown[]): void {
  if (jsonBytesAtMost(records) <= recordLimits.maxBatchBytes) return
  let bytes = 0
  for (const record of records) bytes += jsonBytes(record)
  if (bytes <= recordLimits.maxBatchBytes) return
  const [size, limit] = [bytes, recordLimits.maxBatchBytes].map(value => value.toLocaleString('en'))
  throw new RpcError(
    'BAD_REQUEST',
    `records: a batch of ${size} bytes is larger than maxBatchBytes ${limit}; send a large record through its own procedure`,
  )
}

function jsonBytes(record: unknown): number {
  try {
    return Buffer.byteLength(JSON.stringify(record) ?? '')
  } catch {
    // A bigint, which the wire carries and JSON does not; the record's own check names and rejects the field.
    return 0
  }
}
