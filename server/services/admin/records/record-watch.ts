import type { WatchEvent } from '../../../../shared/contract/admin/watch.js'
import { rpcError } from '../../../../shared/contract/error-reasons.js'
import { feedPollMs } from '../../../../shared/contract/limits.js'
import { RpcError } from '../../../../shared/rpc/errors.js'
import type { ChangeStore, FeedPage, FeedStore } from '../../../store/store.js'
import { signals } from '../../signals.js'

export interface RecordWatch {
  /**
   * Yields every record as stored, in commit order, whichever process stored the record. Each event has an id; the
   * stream resumes behind an id, without a gap or a repeat, in any process of this service. A new stream begins with
   * `watching`, whose id stands for this moment.
   *
   * No record is kept for a watcher: the stream reads from the database at the watcher's pace, so a slow watcher costs
   * no memory and delays no recorder.
   * @param lastEventId the event to resume behind; absent: now
   * @throws RpcError `BAD_REQUEST` for an id of another form; `PRECONDITION_FAILED` (event_expired) if the events
   *   behind the id are no longer kept
   */
  watch(
    input: { lastEventId?: string | undefined },
    signal: AbortSignal | undefined,
  ): AsyncGenerator<{ id: string; event: WatchEvent }, void, void>
}

export interface RecordWatchOptions {
  store: FeedStore & ChangeStore
}

/** Records of one page: at most two content fields of 1 MiB each, so that a watcher holds 64 MiB at most. */
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
