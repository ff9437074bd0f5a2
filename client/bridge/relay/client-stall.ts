import type { ServerResponse } from 'node:http'
import { takenBytes } from '../../../shared/values/taken-bytes.js'
import { ExchangeAborted } from '../wire/exchange-aborted.js'

/** Looks in the time of a limit: a client is cut off after the limit and a tenth of it, at the latest. */
const looks = 10

/**
 * Waits until a response has emitted one of the events. A client that takes nothing of the written bytes for `limitMs`
 * is cut off: it holds the connection to a provider, and memory. A client that reads slowly is not.
 */
export function untilTaken(response: ServerResponse, events: readonly string[], limitMs: number): Promise<void> {
  return new Promise(resolve => {
    const { socket } = response
    let taken = socket ? takenBytes(socket) : 0
    let looksWithout = 0
    const look = () => {
      const now = socket ? takenBytes(socket) : 0
      // A caller in this process has no socket that counts (NaN), and may take its time: it holds no other client's
      // bytes.
      looksWithout = now === taken ? looksWithout + 1 : 0
      taken = now
      if (looksWithout >= looks) response.destroy(tookNothing(limitMs))
    }
    const timer = setInterval(look, limitMs / looks)
    const done = () => {
      clearInterval(timer)
      for (const event of events) response.off(event, done)
      resolve()
    }
    for (const event of events) response.on(event, done)
  })
}

function tookNothing(limitMs: number): ExchangeAborted {
  return new ExchangeAborted(
    'client',
    `the client took nothing of the response within clientTimeoutMs ${limitMs.toLocaleString('en')}`,
  )
}
