/** A watcher of one chat, which moves between the replicas. */
import type { BridgeClient } from '../../../client/bridge-client.js'
import type { Choice } from '../transport/choice.js'
import type { WatchAccount } from './accounts.js'

/** A running watcher. */
export interface Watcher {
  /** Ends the watch when its events have shown a message with this sequence number, or after a time. */
  stop(lastSeq: number, timeoutMs: number): Promise<void>
}

/** Watches a chat. The watcher leaves its replica for another after some events, and when the watch fails. */
export function watch(
  account: WatchAccount,
  clients: readonly { name: string; client: BridgeClient }[],
  choice: Choice,
): Watcher {
  let lastEventId: string | undefined
  let lastSeq = 0
  let isEnding = false
  let current: AbortController | undefined
  const waiting = new Set<() => void>()

  async function run(): Promise<void> {
    while (!isEnding) {
      const { name, client } = choice.pick(clients)
      current = new AbortController()
      let left = choice.chance(0.3) ? Number.POSITIVE_INFINITY : 1 + choice.below(60)
      try {
        const input = { chatId: account.chatId, ...(lastEventId !== undefined && { lastEventId }) }
        const events = client.chats.watch.subscribe(input, {
          signal: AbortSignal.any([current.signal, AbortSignal.timeout(20_000)]),
        })
        for await (const { id, data } of events) {
          lastEventId = id
          account.events.push({ id, event: data, replica: name })
          if (data.kind === 'history_reset') lastSeq = 0
          if (data.kind === 'message') lastSeq = data.message.seq
          for (const resolve of waiting) resolve()
          if (--left === 0) break
        }
      } catch {
        // The replica is gone, or its chat is not there yet: the next one goes on behind the last event.
        await new Promise(resolve => setTimeout(resolve, 50))
      }
    }
  }

  const ran = run()
  return {
    async stop(seq, timeoutMs) {
      const giveUpAt = performance.now() + timeoutMs
      while (lastSeq < seq && performance.now() < giveUpAt) {
        await new Promise<void>(resolve => {
          const timer = setTimeout(resolve, 200)
          waiting.add(() => {
            clearTimeout(timer)
            resolve()
          })
        })
        waiting.clear()
      }
      isEnding = true
      current?.abort()
      await ran
    },
  }
}
