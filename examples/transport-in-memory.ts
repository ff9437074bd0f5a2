/**
 * Any tRPC router over a duplex in memory: a query, a subscription and a shutdown.
 *
 * Prints `hello Ada`, then `3 2 1`, then the result of the shutdown.
 */
import { initTRPC } from '@trpc/server'
import { connect, createDuplexClient } from 'aibridge/client'
import { ConnectionGroup, serveDuplex } from 'aibridge/server'
import { memoryDuplexPair } from 'aibridge/shared'
import { z } from 'zod'

// #region router
const t = initTRPC.create()
const router = t.router({
  greet: t.procedure.input(z.string()).query(({ input }) => `hello ${input}`),
  countdown: t.procedure.input(z.number().int()).subscription(async function* ({ input }) {
    for (let n = input; n > 0; n--) yield n
  }),
})
// #endregion

// #region memory
const group = new ConnectionGroup()
const connection = connect({
  // Each dial makes a fresh pair and serves the server's end.
  dial() {
    const [serverEnd, clientEnd] = memoryDuplexPair()
    serveDuplex({ duplex: serverEnd, router, group })
    return clientEnd
  },
})
const client = createDuplexClient<typeof router>({ connection })

console.log(await client.greet.query('Ada', { context: { timeoutMs: 5_000 } }))
// #endregion

const seen: number[] = []
await new Promise<void>((resolve, reject) => {
  client.countdown.subscribe(3, {
    onData: n => seen.push(n),
    onError: reject,
    onComplete: resolve,
  })
})
console.log(seen.join(' '))

await connection.close()
console.log(await group.close({ graceMs: 5_000 }))
