import type { RecordKind } from '../../../shared/contract/record-kinds.js'
import type { StoredRecord } from '../store.js'
import { toRow } from './record-rows.js'

/** A record of a group, and its row, which is made once for all attempts. */
export interface Member<K extends RecordKind = RecordKind> {
  readonly stored: StoredRecord<K>
  /** JSON text */
  readonly row: string
}

/** Returns a record as a member of a group. */
export function toMember(stored: StoredRecord): Member {
  return { stored, row: toRow(stored) }
}
