import { v7 as uuidv7 } from 'uuid'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { BridgeClient } from '../../../client/bridge-client.js'
import type { Store } from '../../../server/store/store.js'
import type { WatchEvent } from '../../../shared/contract/admin/watch.js'
import { randomFrom } from '../../fixtures/random.js'
import { stores } from '../../fixtures/stores.js'
import { admin, daemon, deferred, startServer } from '../services/running-server.js'

const links = ['memory', 'WebSocket'] as const
const at = new Date('2026-05-01T12:00:00.123Z')
const initiatorId = uuidv7()
const interception = () => ({
  id: uuidv7(),
  initiatorId,
  apiKeyId: 'abcdefghij',
  provider: 'anthropic',
  model: 'claude',
  startedAt: at,
})
const prompt = (interceptionId: string, text: string) => ({
  id: uuidv7(),
  interceptionId,
  msgId: 'm',
  prompt: text,
  createdAt: at,
})

describe.each(stores.flatMap(({ name, openTwo }) => links.map(link => ({ name, openTwo, link }))))(
  'two servers on $name, clients by $link',
  ({ openTwo, link }) => {
    let pair: [Store, Store]
    beforeAll(async () => {
      pair = await openTwo()
    })
    afterAll(() => Promise.all(pair.map(store => store.close())))

    async function connect(): Promise<[Connected, Connected]> {
      return [await connectTo(pair[0]), await connectTo(pair[1])]
    }
    async function connectTo(store: Store): Promise<Connected> {
      const server = await startServer(store, {}, { link })
      return { daemon: server.connect(daemon), admin: server.connect(admin) }
    }
    interface Connected {
      daemon: BridgeClient
      admin: BridgeClient
    }

    describe('admin.watch', () => {
      test('admin.watch shows every record that any server stores, as it is stored, from the moment of watching', async () => {
        const [one, two] = await connect()
        const before = interception()
        await one.daemon.recorder.recordInterception.mutate(before)
        const watcher = watch(two.admin)
        expect(await watcher.next()).toMatchObject({ kind: 'watching' })
        const seen = interception()
        await one.daemon.recorder.recordInterception.mutate(seen)
        expect(await watcher.next()).toMatchObject({ kind: 'interception', record: { id: seen.id, startedAt: at } })
        const usage = {
          id: uuidv7(),
          interceptionId: seen.id,
          msgId: 'm',
          inputTokens: 1,
          outputTokens: 2,
          cacheReadInputTokens: 3,
          cacheWriteInputTokens: 4,
          createdAt: at,
        }
        await two.daemon.recorder.recordTokenUsage.mutate(usage)
        expect(await watcher.next()).toEqual({
          kind: 'tokenUsage',
          record: { ...usage, model: null, metadata: null, costNanos: null, costEstimated: false },
          username: null,
          interceptionKind: 'model',
        })
        const tool = {
          id: uuidv7(),
          interceptionId: seen.id,
          msgId: 'm',
          tool: 't',
          input: '{}',
          injected: false,
          createdAt: at,
        }
        const { msgId: _, prompt: content, ...thought } = prompt(seen.id, 'hm')
        const asked = prompt(seen.id, 'hello')
        const { results } = await one.daemon.recorder.recordBatch.mutate({
          records: [
            { kind: 'promptUsage', ...asked },
            { kind: 'toolUsage', ...tool },
            { kind: 'modelThought', ...thought, content },
            { kind: 'interceptionEnded', id: seen.id, endedAt: at, errorType: 'timeout', errorMessage: 'late' },
          ],
        })
        expect(results).toEqual([{ ok: true }, { ok: true }, { ok: true }, { ok: true }])
        expect([await watcher.next(), await watcher.next(), await watcher.next(), await watcher.next()]).toMatchObject([
          { kind: 'promptUsage', record: { id: asked.id, prompt: 'hello' } },
          { kind: 'toolUsage', record: { id: tool.id, tool: 't' } },
          { kind: 'modelThought', record: { id: thought.id, content } },
          {
            kind: 'interceptionEnded',
            record: { id: seen.id, endedAt: at, errorType: 'timeout', errorMessage: 'late', credentialHint: null },
          },
        ])
        watcher.stop()
      })

      test('what changes nothing is no event: a repeat, a second end, a rejected record', async () => {
        const [one] = await connect()
        const watcher = watch(one.admin)
        await watcher.next()
        const record = interception()
        const end = { id: record.id, endedAt: at }
        const { recorder } = one.daemon
        await recorder.recordInterception.mutate(record)
        await recorder.recordInterception.mutate(record)
        await recorder.recordInterceptionEnded.mutate(end)
        await recorder.recordInterceptionEnded.mutate(end)
        await recorder.recordPromptUsage.mutate(prompt(uuidv7(), 'lost')).catch(() => {})
        const last = interception()
        await recorder.recordInterception.mutate(last)
        const kinds = [await watcher.next(), await watcher.next(), await watcher.next()]
        expect(kinds).toMatchObject([
          { kind: 'interception', record: { id: record.id } },
          { kind: 'interceptionEnded', record: { id: record.id } },
          { kind: 'interception', record: { id: last.id } },
        ])
        watcher.stop()
      })

      test('many writers and watchers that come and go: no gap, no repeat, in the order of the commits', async () => {
        const servers = await connect()
        const clock = { now: 0 }
        /** id of a record → when its call began and when it was answered */
        const calls = new Map<string, { began: number; answered: number }>()
        const write = async (id: string[], call: Promise<unknown>) => {
          const began = ++clock.now
          await call
          const answered = ++clock.now
          for (const one of id) calls.set(one, { began, answered })
        }
        const chance = randomFrom()
        const random = (below: number) => Math.floor(chance() * below)
        const anyServer = () => (random(2) === 0 ? servers[0] : servers[1])
        const start = watch(servers[0].admin)
        await start.next()
        const from = start.lastId()
        start.stop()
        const last = interception()
        const watchers = Array.from({ length: 4 }, () => watchAndLeave())
        await Promise.all(Array.from({ length: 8 }, (_, writer) => writeSome(writer)))
        // Its call begins after all others were answered, so it is the last event.
        await write([last.id], servers[0].daemon.recorder.recordInterception.mutate(last))
        const expected = await readAll(from, calls.size)
        for (const seen of await Promise.all(watchers)) expect(seen).toEqual(expected)
        expect(new Set(expected)).toEqual(new Set(calls.keys()))
        expect(new Set(expected).size).toBe(expected.length)
        // No record stands behind one whose call began only after this one's was answered.
        let latest = 0
        for (const id of expected) {
          const call = calls.get(id) ?? expect.fail(`${id} was never written`)
          expect(latest).toBeLessThanOrEqual(call.answered)
          latest = Math.max(latest, call.began)
        }

        async function writeSome(writer: number): Promise<void> {
          for (let turn = 0; turn < 25; turn++) {
            const { recorder } = anyServer().daemon
            const parent = interception()
            if (random(2) === 0) {
              await write([parent.id], recorder.recordInterception.mutate(parent))
              const child = prompt(parent.id, `writer ${writer}`)
              await write([child.id], recorder.recordPromptUsage.mutate(child))
            } else {
              const others = Array.from({ length: random(20) }, () => prompt(parent.id, 'batch'))
              const records = [
                { kind: 'interception' as const, ...parent },
                ...others.map(other => ({ kind: 'promptUsage' as const, ...other })),
              ]
              await write(
                records.map(({ id }) => id),
                recorder.recordBatch.mutate({ records }),
              )
            }
          }
        }

        /** Leaves after some events, as a lost connection would, and goes on at any server from the last id. */
        async function watchAndLeave(): Promise<string[]> {
          const ids: string[] = []
          let lastId: string = from
          while (ids.at(-1) !== last.id) {
            const watcher = watch(anyServer().admin, lastId)
            for (let left = random(40); left > 0 && ids.at(-1) !== last.id; left--) {
              const event = await watcher.next()
              if (event.kind !== 'watching') ids.push(event.record.id)
            }
            lastId = watcher.lastId()
            watcher.stop()
          }
          return ids
        }

        async function readAll(lastId: string, count: number): Promise<string[]> {
          const watcher = watch(servers[1].admin, lastId)
          const ids: string[] = []
          while (ids.length < count) {
            const event = await watcher.next()
            if (event.kind !== 'watching') ids.push(event.record.id)
          }
          watcher.stop()
          return ids
        }
      })

      test.each(['x', '', '-1', '1e3', '9'.repeat(15)])(
        'an id that is none of ours is rejected: %j',
        async lastEventId => {
          const [one] = await connect()
          await expect(watch(one.admin, lastEventId).next()).rejects.toMatchObject({ data: { code: 'BAD_REQUEST' } })
        },
      )
    })

    test('watchProviders signals at once, and within a second after a change through any server', async () => {
      const [one, two] = await connect()
      const name = `p-${uuidv7().slice(-8)}`
      const signals = [one, two].map(({ daemon }) => {
        let count = 0
        let change = deferred<void>()
        const subscription = daemon.providerConfigurator.watchProviders.subscribe(undefined, {
          onData() {
            count++
            change.resolve()
          },
        })
        const next = async () => {
          await change.promise
          change = deferred()
        }
        return { next, count: () => count, stop: () => subscription.unsubscribe() }
      })
      await Promise.all(signals.map(({ next }) => next()))
      const { providers } = one.admin.admin
      const changes = [
        () => providers.upsert.mutate({ name, type: 'anthropic', keys: ['sk-one', 'sk-two'] }),
        () => providers.setEnabled.mutate({ name, enabled: false }),
        () => providers.remove.mutate({ name }),
      ]
      for (const change of changes) {
        const before = performance.now()
        await change()
        await Promise.all(signals.map(({ next }) => next()))
        expect(performance.now() - before).toBeLessThan(1_000)
      }
      // One at first, and one for each transaction.
      expect(signals.map(({ count }) => count())).toEqual([4, 4])
      for (const { stop } of signals) stop()
    })
  },
)

/** Events of `admin.watch`, one after another. */
function watch({ admin }: Pick<BridgeClient, 'admin'>, lastEventId?: string) {
  const waiting: (() => void)[] = []
  const events: { id: string; event: WatchEvent }[] = []
  let failure: unknown
  let lastId = lastEventId ?? ''
  const wake = () => waiting.splice(0).forEach(resolve => void resolve())
  const subscription = admin.watch.subscribe(lastEventId === undefined ? undefined : { lastEventId }, {
    onData({ id, data }) {
      events.push({ id, event: data })
      wake()
    },
    onError(error) {
      failure = error
      wake()
    },
  })
  return {
    async next(): Promise<WatchEvent> {
      for (;;) {
        const first = events.shift()
        if (first) {
          lastId = first.id
          return first.event
        }
        if (failure) throw failure
        await new Promise<void>(resolve => waiting.push(resolve))
      }
    },
    lastId: () => lastId,
    stop: () => subscription.unsubscribe(),
  }
}
