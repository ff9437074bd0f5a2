/** The stream of records as they are stored: one subscription for the whole page, without gaps. */
import type { WatchEvent } from '../../../shared/contract/admin/watch.js'
import { reads } from './own.js'

type Listener = (event: WatchEvent) => void

const listeners = new Set<Listener>()
let stop: (() => void) | undefined

/**
 * Calls `listener` for each record that is stored from now on. `watching` comes first: reads after it miss nothing.
 * After a lost connection the stream goes on behind its last event.
 * @returns a function that ends the calls
 */
export function watchRecords(listener: Listener): () => void {
  const isFirst = listeners.size === 0
  listeners.add(listener)
  if (isFirst) start()
  else listener({ kind: 'watching' })
  return () => {
    listeners.delete(listener)
    if (listeners.size > 0) return
    stop?.()
    stop = undefined
  }
}

function start(): void {
  const subscription = reads().watch.subscribe(
    {},
    {
      onData: ({ data }) => {
        for (const listener of listeners) listener(data)
      },
      onError: restart,
      onComplete: restart,
    },
  )
  stop = () => subscription.unsubscribe()
}

/** A server ends a stream that was too slow, or whose place is gone: the next stream begins now. */
function restart(): void {
  stop = undefined
  setTimeout(() => {
    if (listeners.size > 0 && stop === undefined) start()
  }, 1_000)
}
