import type { WatchEvent } from '../../../shared/contract/admin.js'
import { rpcError } from '../../../shared/contract/error-reasons.js'
import { feedPollMs } from '../../../shared/contract/limits.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import type { ChangeStore, FeedPage, FeedStore } from '../../store/store.js'
import { signals } from '../signals.js'

export interface RecordWatch {
  /**
   * Every record as it is stored, in the order in which the database committed them, whichever process stored them. Each event has an id; the stream
   * goes on behind it, without a gap or a repeat, from any process of this service. One that begins now begins with `watching`, whose id stands for
   * this moment.
   *
   * Nothing is kept for a watcher: it reads from the database at its own pace, so a slow one costs no memory and no recorder waits for it.
   * @param lastEventId where to go on; left out: now
   * @throws RpcError `BAD_REQUEST` for an id that is none of ours; `PRECONDITION_FAILED` (event_expired) if what came after it is not kept any more
   */
  watch(
    input: { lastEventId?: string | undefined },
    signal: AbortSignal | undefined,
  ): AsyncGenerator<{ id: string; event: WatchEvent }, void, void>
}

export interface RecordWatchOptions {
  store: FeedStore & ChangeStore
}

/** Records of one page: at most two content fields of 1 MiB each, so that a watcher holds 64 MiB at the very most. */
const pageLength = 32

export function createRecordWatch({ store }: RecordWatchOptions): RecordWatch {
  async function read(after: number): Promise<FeedPage> {
    const page = await store.readFeed({ after, limit: pageLength })
    if (page.known) return page
    throw rpcError(
      'event_expired',
      `what was recorded after event ${after} is not kept any more; watch without lastEventId and list what was missed`,
    )
  }

  return {
    async *watch({ lastEventId }, signal) {
      let position = lastEventId === undefined ? await store.feedEnd() : parsePosition(lastEventId)
      if (position > (await store.feedEnd())) throw unknownEvent(lastEventId)
      if (lastEventId === undefined) yield { id: String(position), event: { kind: 'watching' } }
      const changes = signals(listener => store.onChange('records', listener), signal, feedPollMs)
      for await (const _ of changes) {
        let page: FeedPage
        do {
          page = await read(position)
          for (const { position: id, record } of page.events) yield { id: String(id), event: record }
          position = page.end
        } while (!page.isWhole && !signal?.aborted)
      }
    },
  }
}

function parsePosition(id: string): number {
  if (/^\d{1,15}$/.test(id)) return Number(id)
  throw unknownEvent(id)
}

function unknownEvent(id: string | undefined): RpcError {
  return new RpcError('BAD_REQUEST', `lastEventId: ${JSON.stringify(id)} is no event of this service`)
}
