import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createTRPCClient } from '@trpc/client'
import { initTRPC, tracked } from '@trpc/server'
import { observable } from '@trpc/server/observable'
import { describe, expect, it } from 'vitest'
import { createDuplexClient } from '../../../client/rpc/client.js'
import type { Connection } from '../../../client/rpc/connection.js'
import { duplexLink } from '../../../client/rpc/link.js'
import { transformer } from '../../../shared/rpc/json/transformer.js'
import { eventually } from '../../fixtures/eventually.js'
import { leavesNothing } from '../../fixtures/leaves-nothing.js'
import { links } from '../../fixtures/links.js'
import { gate } from '../../fixtures/peer.js'

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

const t = initTRPC.create({ transformer })

/** subscriptions of each source and each way to read */
const each = 4
const textLength = 256 * 1024

/** Sources that emit one large event and then nothing, and keep no hold of the event. */
function idleRouter() {
  const emitted: { path: Path; event: WeakRef<object> }[] = []
  let made = 0
  const event = (path: Path): object => {
    const value = { text: Buffer.alloc(textLength, String(made++)).toString('latin1') }
    emitted.push({ path, event: new WeakRef(value) })
    return value
  }
  const source = (path: Path, wrap: (value: object) => unknown) =>
    t.procedure.subscription(() => {
      let pulls = 0
      const silence = gate<IteratorResult<unknown>>()
      const iterator: AsyncIterator<unknown> = {
        next: () => (pulls++ === 0 ? Promise.resolve({ value: wrap(event(path)) }) : silence.passed),
        return: async () => {
          silence.open({ done: true, value: undefined })
          return silence.passed
        },
      }
      return { [Symbol.asyncIterator]: () => iterator }
    })
  const router = t.router({
    plain: source('plain', value => value),
    tracked: source('tracked', value => tracked('1', value)),
    generated: t.procedure.subscription(async function* ({ signal }) {
      yield event('generated')
      await new Promise(resolve => signal?.addEventListener('abort', resolve))
    }),
    observed: t.procedure.subscription(() => observable<object>(emit => emit.next(event('observed')))),
  })
  return { router, emitted }
}

type Router = ReturnType<typeof idleRouter>['router']
type Client = ReturnType<typeof createDuplexClient<Router>>
const paths = ['plain', 'tracked', 'generated', 'observed'] as const
type Path = (typeof paths)[number]

/** Ways to read a subscription. Each calls `take` with every event, and returns a function that unsubscribes. */
const readings: ((connection: Connection, path: Path, take: (event: unknown) => void) => () => void)[] = [
  (connection, path, take) => {
    const client = createDuplexClient<Router>({ connection, transformer })
    return client[path].subscribe(undefined, { onData: take }).unsubscribe
  },
  (connection, path, take) => {
    const client = createTRPCClient<Router>({ links: [duplexLink({ connection, transformer })] })
    return client[path].subscribe(undefined, { onData: take }).unsubscribe
  },
  (connection, path, take) => {
    const client = createDuplexClient<Router>({ connection, transformer })
    const events: AsyncIterator<unknown> = (client[path] as Client['plain']).subscribe()[Symbol.asyncIterator]() // each path has this type
    // Not `for await`: the suspended function would hold the event itself.
    const read = (): void =>
      void events.next().then(({ done, value }) => {
        if (done) return
        take(value)
        read()
      }, noError)
    read()
    return () => void events.return?.()
  },
]

/** Called at the end of a test that has failed before. */
function noError(): void {}

/** Returns the sources of objects that are alive. The target of a WeakRef is kept until the end of the turn. */
async function alive(objects: readonly { path: Path; event: WeakRef<object> }[]): Promise<Path[]> {
  await new Promise(resolve => setImmediate(resolve))
  collect()
  return objects.filter(({ event }) => event.deref() !== undefined).map(({ path }) => path)
}

function heldBytes(): number {
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

describe.each(links)('idle subscriptions, $name', ({ link }) => {
  leavesNothing()

  it('an idle subscription keeps no event at either end', async () => {
    const { router, emitted } = idleRouter()
    const { connection } = link(router, { onCallEnd() {}, client: { onCallEnd() {} } })
    const received: { path: Path; event: WeakRef<object> }[] = []
    const before = heldBytes()
    const ends: (() => void)[] = []
    for (const path of paths) {
      const take = (event: unknown): void => void received.push({ path, event: new WeakRef(Object(event)) })
      for (const read of readings) for (let n = 0; n < each; n++) ends.push(read(connection, path, take))
    }
    await eventually(() => expect(received).toHaveLength(ends.length))
    await eventually(async () =>
      expect({ server: await alive(emitted), client: await alive(received) }).toEqual({ server: [], client: [] }),
    )
    // Texts have no WeakRef, nor have the frames and buffers of a socket.
    expect(heldBytes() - before).toBeLessThan((ends.length * textLength) / 4)
    for (const end of ends) end()
  })
})
