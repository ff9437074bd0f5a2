/** Records as text: the form in which they stand in the journal and in dead letters. */
import { isRecordKind } from '../../../shared/contract/record-kinds.js'
import type { BatchRecord } from '../../../shared/contract/recorder.js'
import { isPlainObject } from '../../../shared/values/text.js'
import type { SizedRecord } from './parcel.js'

/**
 * Returns records with the sizes of their texts, and the text of all. It has the id of their user, where this is known:
 * an erasure must reach them also when the entry with their interception is damaged.
 */
export function textOfRecords(
  records: readonly BatchRecord[],
  userId: string | undefined,
): { sized: SizedRecord[]; text: string } {
  const texts = records.map(record => JSON.stringify(record))
  const sized = records.map((record, index) => ({ record, bytes: Buffer.byteLength(texts[index] ?? '') }))
  const list = `[${texts.join(',')}]`
  return { sized, text: userId === undefined ? list : `{"userId":${JSON.stringify(userId)},"records":${list}}` }
}

/**
 * Reads the text of records, with or without the id of their user.
 * @throws Error if the text has no list of records
 */
export function recordsOfText(text: string | Buffer): { sized: SizedRecord[]; userId: string | undefined } {
  const value: unknown = JSON.parse(text.toString())
  const { records, userId } = isPlainObject(value) ? value : { records: value }
  if (!Array.isArray(records)) throw new Error('the text has no list of records')
  const sized = records.map(each => ({ record: recordOf(each), bytes: Buffer.byteLength(JSON.stringify(each)) }))
  return { sized, userId: typeof userId === 'string' ? userId : undefined }
}

/**
 * Returns a parsed record with its times.
 * @throws Error if the value is no record
 */
export function recordOf(value: unknown): BatchRecord {
  if (!isPlainObject(value) || !isRecordKind(value.kind) || typeof value.id !== 'string' || !idForm.test(value.id)) {
    throw new Error('a value is no record')
  }
  const times = timeFields.flatMap(field => {
    const time = value[field]
    return typeof time === 'string' ? [[field, new Date(time)] as const] : []
  })
  return { ...value, ...Object.fromEntries(times) } as BatchRecord // its other fields are checked by the control plane
}

/** ids become names of files */
const idForm = /^[\w-]{1,64}$/

/** the fields with a time, of all kinds */
const timeFields = ['startedAt', 'endedAt', 'createdAt']
