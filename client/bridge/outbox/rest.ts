import type { BatchRecord } from '../../../shared/contract/recorder.js'
import type { Logger } from '../../../shared/values/log.js'

/** The records that an outbox could not hand over before its end. */
export interface Rest {
  records: readonly BatchRecord[]
  /** of an outbox on disk */
  folder?: string
  /** the error of a link that is closed for good */
  linkEnd: Error | undefined
  /** how long the outbox tried */
  timeoutMs: number
}

/** Logs as an error what became of the records that were not handed over, by kind, with the cause. */
export function logRest(logger: Logger, what: string, { records, folder, linkEnd, timeoutMs }: Rest): void {
  const kinds: Record<string, number> = {}
  for (const { kind } of records) kinds[kind] = (kinds[kind] ?? 0) + 1
  const cause = linkEnd
    ? 'the link to the control plane is closed for good'
    : 'the control plane did not take them in time'
  const fields = { left: records.length, kinds, folder, timeoutMs, reason: linkEnd?.message }
  logger.error(fields, `${what}: ${cause}`)
}
