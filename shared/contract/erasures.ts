/** Erasures: users whose records each daemon has to remove from its outbox. */
import { z } from 'zod'
import { uuid } from './fields.js'
import { erasure as limits } from './limits.js'

/** A user whose records are to be removed. */
export interface Erasure {
  erasureId: string
  userId: string
}

/**
 * Asks for the erasures that an outbox has not confirmed.
 * - `outboxId` a UUID that stays with the outbox: the same in every process that uses it
 * - `isDurable` whether the outbox outlives its process
 * - `lastEventId` is taken and means nothing: a stream always begins with everything that is not confirmed
 */
export const watchErasuresInput = z.object({
  outboxId: uuid,
  isDurable: z.boolean(),
  lastEventId: z.string().max(64).optional(),
})

/**
 * Says that an outbox holds nothing of the users of 1 to 100 erasures, and never will. `records` is the number of
 * records that were removed.
 */
export const confirmErasuresInput = z.object({
  outboxId: uuid,
  erasures: z
    .array(z.object({ erasureId: uuid, records: z.number().int().min(0).max(limits.maxRecords) }))
    .min(1)
    .max(limits.maxUnconfirmed),
})

/** Says that a daemon ends and leaves nothing of any user in its outbox. */
export const retireOutboxInput = z.object({ outboxId: uuid })
