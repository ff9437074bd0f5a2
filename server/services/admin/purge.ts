import { v7 as uuidv7 } from 'uuid'
import { z } from 'zod'
import type { PurgedDaemons, PurgeProgress, usersPurgeInput } from '../../../shared/contract/admin/users.js'
import { uuid } from '../../../shared/contract/fields.js'
import { erasure, retention as limits } from '../../../shared/contract/limits.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { abortablePause } from '../../../shared/values/abortable.js'
import type {
  AuditEntry,
  AuditedWrites,
  AuditStore,
  ChangeStore,
  ChatStore,
  ConversationStore,
  ErasureStore,
  OutboxErasureStore,
  PurgeStore,
  UserStore,
} from '../../store/store.js'
import { auditEntry } from '../audit-entry.js'
import { afterChange } from '../partial-change.js'
import { unknownRow } from '../unknown-row.js'
import { findUserIfAny, type UserFinder } from './find-user.js'
import { createReachedDaemons } from './reached-daemons.js'

/** Erases a person. */
export interface Purge {
  /**
   * Erases everything that is stored of a user: first the keys are revoked, then interceptions with their records,
   * conversations with injected tools, and chats go in batches, at last the API keys, links to MCP servers and the
   * user, whose name is replaced by the id in the audit log. Audit entries remain, with the id.
   *
   * The outboxes of all daemons are told first, in the transaction that revokes the keys. At the end connected daemons
   * are waited for, and the result names those that did not confirm; a daemon that is away erases when it is back.
   *
   * A call works for ten seconds at most and returns `done: false` if more is left; the counts are those of all calls
   * so far. A call may be interrupted at any moment and repeated, also after the last: a repeat says again which
   * daemons have erased the user, and erases the records that an older daemon has handed over since.
   * @param ref an id, also of a deleted user or of a user with nothing but records; or a name: of a user, or else of
   *   the one deleted user with that name
   * @throws RpcError `NOT_FOUND` (unknown_row) if nothing is or was stored of such a user; `PRECONDITION_FAILED` for a
   *   name that several deleted users had
   */
  purge(input: z.output<typeof usersPurgeInput>, actor: string, signal: AbortSignal | undefined): Promise<PurgeProgress>
}

export interface PurgeOptions {
  store: PurgeStore &
    Pick<ErasureStore, 'eraseInterceptionsOf'> &
    Pick<ConversationStore, 'eraseConversationsOf'> &
    Pick<ChatStore, 'eraseChatsOf'> &
    Pick<OutboxErasureStore, 'findErasure' | 'readErasure'> &
    ChangeStore &
    UserFinder &
    Pick<UserStore, 'listUsers'> &
    AuditStore &
    AuditedWrites
  now?: () => Date
  /** longest time that one call erases; default 10 s, well below the deadline of a call */
  purgeSliceMs?: number
  /** longest time from the beginning of a call for which connected daemons are waited for; default 5 s */
  daemonWaitMs?: number
}

type Counts = Omit<PurgeProgress, 'userId' | 'done' | 'daemons'>

const action = 'users.purge'
const nothing: Counts = { interceptions: 0, records: 0, apiKeys: 0, links: 0, conversations: 0, chats: 0 }

export function createPurge({
  store,
  now = () => new Date(),
  purgeSliceMs = limits.purgeSliceMs,
  daemonWaitMs = erasure.waitMs,
}: PurgeOptions): Purge {
  const reachedDaemons = createReachedDaemons({ store, now })

  return {
    async purge({ user: ref }, actor, signal) {
      const userId = await idOf(ref)
      const startedAt = performance.now()
      const before = await progressOf(userId)
      if (before?.done !== false && !(await store.holdsUser(userId))) {
        if (!before) throw unknownRow('user', ref)
        const known = await store.findErasure(userId)
        if (known !== null) return { userId, done: true, ...nothing, daemons: await reached(known) }
      }
      const counts: Counts = before?.done === false ? { ...before.counts } : { ...nothing }
      const entry = (done: boolean) => auditEntry(actor, action, userId, { done, ...counts })

      const erasureId = await begin(userId, () => entry(false))
      return afterChange(() => eraseAll(erasureId))

      async function eraseAll(erasureId: string): Promise<PurgeProgress> {
        const giveUpAt = startedAt + purgeSliceMs
        do {
          if ((await eraseBatch(userId, counts)) === 0) {
            const daemons = await reached(erasureId)
            // Daemons may have recorded requests until they learned of the erasure.
            if ((await eraseBatch(userId, counts)) === 0) {
              const isDone = await store.audited(
                async tables => {
                  const rest = await tables.eraseUser(userId)
                  if (rest) Object.assign(counts, rest)
                  return rest !== null
                },
                done => (done ? entry(true) : null),
              )
              if (isDone) return { userId, done: true, ...counts, daemons }
            }
          }
          await abortablePause(limits.pauseMs, signal)
        } while (performance.now() < giveUpAt && !signal?.aborted)
        await store.audited(
          async () => {},
          () => entry(false),
        )
        return { userId, done: false, ...counts }
      }

      function reached(id: string): Promise<PurgedDaemons> {
        return reachedDaemons.await(id, startedAt + daemonWaitMs, signal)
      }
    },
  }

  /** Rejects the user's keys and begins the erasure. The entry is left out where an earlier call has done both. */
  async function begin(userId: string, entry: () => AuditEntry): Promise<string> {
    const newId = uuidv7()
    const { erasureId } = await store.audited(
      async tables => {
        const erasureId = await tables.beginErasure({ erasureId: newId, userId, at: now() })
        const isRejected = await tables.rejectUser(userId, now())
        return { erasureId, isChanged: isRejected || erasureId === newId }
      },
      ({ isChanged }) => (isChanged ? entry() : null),
    )
    return erasureId
  }

  /** Adds the erased rows to the counts, and returns the number of interceptions, conversations and chats. */
  async function eraseBatch(userId: string, counts: Counts): Promise<number> {
    const erased = await store.eraseInterceptionsOf({ initiatorId: userId, limit: limits.batchInterceptions })
    counts.interceptions += erased.interceptions
    counts.records += erased.records
    const conversations = await store.eraseConversationsOf({ userId, limit: limits.batchConversations })
    counts.conversations += conversations
    const chats = await store.eraseChatsOf({ userId, limit: limits.batchChats })
    counts.chats += chats
    return erased.interceptions + conversations + chats
  }

  async function idOf(ref: string): Promise<string> {
    if (uuid.safeParse(ref).success) return ref
    const user = await findUserIfAny(store, ref)
    if (user) return user.id
    const deleted = (await store.listUsers()).filter(({ username }) => username === ref)
    const [only] = deleted
    if (!only) throw unknownRow('user', ref)
    if (deleted.length === 1) return only.id
    const ids = deleted.map(({ id }) => id).join(', ')
    throw new RpcError('PRECONDITION_FAILED', `user: ${deleted.length} deleted users had this name; give an id: ${ids}`)
  }

  /** Reads the progress of the last purge of this user from the audit log. */
  async function progressOf(userId: string): Promise<{ done: boolean; counts: Counts } | undefined> {
    const [entry] = await store.listAudit({ limit: 1, action, target: userId })
    const details = loggedProgress.safeParse(entry?.details)
    if (!details.success) return undefined
    const { done, ...counts } = details.data
    return { done, counts }
  }
}

const count = z.number().int().min(0)
const loggedProgress = z.object({
  done: z.boolean(),
  interceptions: count,
  records: count,
  apiKeys: count,
  links: count,
  /** absent in entries of versions before contract 1.6 */
  conversations: count.default(0),
  /** absent in entries of versions before contract 1.7 */
  chats: count.default(0),
})
