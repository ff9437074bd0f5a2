import type { Logger } from '../../../shared/values/log.js'
import type { RecoveredKey } from './journal/journal.js'
import { userOf } from './open-interceptions.js'
import type { SizedRecord } from './parcel.js'
import { recordsOfText } from './record-text.js'

/** The records that a process left under one key of the journal. */
export interface RecoveredParcel {
  key: string
  records: SizedRecord[]
  /** the user of the records, where it is known */
  userId: string | undefined
  /** whether these are not the final records, which the control plane may have all the same */
  isProvisional: boolean
}

/**
 * Returns the records of each key, in the order of sending: of a finished interception all of them, of one under way
 * those for the case that the process dies. An entry that this version cannot read is logged and stays in the journal.
 */
export function recoveredParcels(recovered: readonly RecoveredKey[], logger: Logger): RecoveredParcel[] {
  return recovered.flatMap(({ key, slots }) => {
    try {
      return [{ key, ...recordsOfSlots(slots) }]
    } catch (error) {
      logger.error({ err: error, key }, 'an entry of the outbox cannot be read, and stays there')
      return []
    }
  })
}

const slotNames = ['start', 'progress', 'finished']

function recordsOfSlots(slots: RecoveredKey['slots']): Omit<RecoveredParcel, 'key'> {
  if (!slotNames.some(slot => slots.has(slot))) throw new Error('an entry has no slot that is known')
  const read = slotNames.map(slot => {
    const text = slots.get(slot)
    return text === undefined ? { sized: [], userId: undefined } : recordsOfText(text)
  })
  const [start = [], progress = [], finished = []] = read.map(({ sized }) => sized)
  const records = inOrderOfSending(start, progress, finished)
  const userId = userOf(records.map(({ record }) => record)) ?? read.find(each => each.userId !== undefined)?.userId
  return { records, userId, isProvisional: finished.length === 0 }
}

function inOrderOfSending(start: SizedRecord[], progress: SizedRecord[], finished: SizedRecord[]): SizedRecord[] {
  const last = finished.length > 0 ? finished : progress
  if (last.length === 0) return start
  // The control plane may have lost the interception, or may never have had it.
  const before = start.filter(
    ({ record }) => record.kind === 'interception' || (last === progress && record.kind !== 'interceptionEnded'),
  )
  const isRepeated = (sized: SizedRecord) =>
    last.some(({ record }) => record.id === sized.record.id && record.kind === sized.record.kind)
  return [...before.filter(sized => !isRepeated(sized)), ...last]
}
