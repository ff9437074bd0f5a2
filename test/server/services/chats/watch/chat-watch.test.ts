import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { Episodes } from '../../../../../server/services/chats/episodes.js'
import type { LiveParts, LivePartsOf } from '../../../../../server/services/chats/live-parts.js'
import type { LivePart } from '../../../../../server/services/chats/model.js'
import { type ChatWatch, createChatWatch } from '../../../../../server/services/chats/watch/chat-watch.js'
import { createChatsWatch } from '../../../../../server/services/chats/watch/chats-watch.js'
import type { WatchedEvent } from '../../../../../server/services/chats/watch/watcher-state.js'
import type { ChatRow, Store } from '../../../../../server/store/store.js'
import type { ChatEvent, ChatsEvent } from '../../../../../shared/contract/chats.js'
import { silentLogger, stores } from '../../../../fixtures/stores.js'
import { append, message, newChat, newOwner } from '../../../store/chats/new-chats.js'

/** The events of a stream so far, and the wait for more. */
class Seen<T> {
  readonly events: T[] = []
  readonly ended: Promise<unknown>
  readonly #abort = new AbortController()
  #wake = () => {}

  constructor(open: (signal: AbortSignal) => AsyncGenerator<T, void, void>) {
    this.ended = this.#read(open(this.#abort.signal)).then(
      () => undefined,
      (error: unknown) => error,
    )
    onTestFinished(async () => {
      await this.stop()
    })
  }

  async #read(stream: AsyncGenerator<T, void, void>): Promise<void> {
    for await (const event of stream) {
      this.events.push(event)
      this.#wake()
    }
  }

  /** Resolves when the last event, or any event, is as wanted. */
  async until(isWanted: (event: T) => boolean): Promise<void> {
    while (!this.events.some(isWanted)) {
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
    }
  }

  async stop(): Promise<unknown> {
    this.#abort.abort()
    return this.ended
  }
}

const text = (words: string): LivePart => ({ role: 'assistant', index: 0, part: { type: 'text', text: words } })
const kindsOf = (events: readonly WatchedEvent[]) => events.map(({ event }) => event.kind)
const isKind = (kind: ChatEvent['kind']) => (watched: WatchedEvent) => watched.event.kind === kind
const isMessage = (words: string) => (watched: WatchedEvent) =>
  watched.event.kind === 'message' && JSON.stringify(watched.event.message.parts).includes(`"${words}"`)
const isPart = (words: string) => (watched: WatchedEvent) =>
  watched.event.kind === 'message_part' && JSON.stringify(watched.event.part).includes(`"${words}"`)
const partsOf = (events: readonly WatchedEvent[]) =>
  events.flatMap(({ event }) =>
    event.kind === 'message_part' && event.part.type === 'text' ? [[event.attempt, event.seq, event.part.text]] : [],
  )

describe.each(stores)('watching chats: $name', ({ openTwo }) => {
  let store: Store
  let other: Store
  beforeAll(async () => {
    ;[store, other] = await openTwo()
  })
  afterAll(async () => {
    await store.close()
    await other.close()
  })

  const runner = randomUUID()
  /** A server that runs chats, and one that does not; each follows the parts of the first. */
  function twoServers() {
    const episodes = new Episodes()
    onTestFinished(() => episodes.close())
    const livePartsOf: LivePartsOf = id => (id === runner ? episodes : undefined)
    const watches = [store, other].map(one => createChatWatch({ store: one, livePartsOf, logger: silentLogger }))
    const [here, there] = watches
    if (!here || !there) throw new Error('no servers')
    return { episodes, here, there }
  }
  const watching = (watch: ChatWatch, chatId: string, lastEventId?: string) =>
    new Seen(signal => watch.watch({ chatId, lastEventId }, signal))

  /** Begins an attempt of a chat, which `runner` has. */
  async function attempt(episodes: Episodes, chatId: string) {
    const changed = await store.changeChat(chatId, chat =>
      chat.update({ status: 'running', attempt: chat.row.attempt + 1 }),
    )
    const row = changed?.row.runner === runner ? changed.row : await taken(chatId)
    return episodes.begin({ chatId, historyVersion: row.historyVersion, attempt: row.attempt })
  }
  async function taken(id: string): Promise<ChatRow> {
    return (await store.takeChat({ id, runner, leaseMs: 60_000 })) ?? expect.fail('the chat does not run')
  }
  const finish = (chatId: string, words: string) =>
    store.changeChat(chatId, async chat => {
      await chat.append(message(words, { role: 'assistant' }))
      await chat.update({ status: 'waiting', historyChanged: true, released: true })
    })

  test('a watcher at any server sees messages, the parts of a response, and the message that they become', async () => {
    const { episodes, here, there } = twoServers()
    const { id } = await newChat(store)
    const seen = [watching(here, id), watching(there, id)]
    for (const one of seen) await one.until(isKind('status'))
    await append(store, id, message('question'))
    const writer = await attempt(episodes, id)
    for (const words of ['a', 'b', 'c']) writer.add(text(words))
    for (const one of seen) await one.until(isPart('c'))
    await finish(id, 'response')
    writer.end()
    for (const one of seen) {
      await one.until(isMessage('response'))
      await one.until(({ event }) => event.kind === 'status' && event.status === 'waiting' && event.version > 1)
      expect(partsOf(one.events)).toEqual([
        [1, 1, 'a'],
        [1, 2, 'b'],
        [1, 3, 'c'],
      ])
      expect(kindsOf(one.events)[0]).toBe('watching')
      expect(one.events.filter(isMessage('response'))).toHaveLength(1)
    }
  })

  test('a watcher that moves between two servers at every event misses none and sees none twice', async () => {
    const { episodes, here, there } = twoServers()
    const { id } = await newChat(store)
    await append(store, id, message('question'))
    const writer = await attempt(episodes, id)
    const words = Array.from({ length: 12 }, (_, n) => `w${n}`)
    for (const one of words) writer.add(text(one))
    const got: WatchedEvent[] = []
    for (let move = 0; !got.some(isPart('w11')); move++) {
      const abort = new AbortController()
      const stream = (move % 2 ? here : there).watch({ chatId: id, lastEventId: got.at(-1)?.id }, abort.signal)
      // Behind the place: the events that say where the stream stands, and one that is new.
      for await (const watched of stream) {
        const isNew = watched.event.kind === 'message' || watched.event.kind === 'message_part'
        if (!isNew) continue
        got.push(watched)
        break
      }
      abort.abort()
    }
    expect(partsOf(got)).toEqual(words.map((one, n) => [1, n + 1, one]))
    expect(got.filter(isKind('message'))).toHaveLength(1)
    await finish(id, 'response')
    writer.end()
    const last = watching(here, id, got.at(-1)?.id)
    await last.until(isMessage('response'))
    expect(partsOf(last.events)).toEqual([])
  })

  test('a late watcher gets the messages and the attempt that runs, and no part of earlier ones', async () => {
    const { episodes, there } = twoServers()
    const { id } = await newChat(store)
    await append(store, id, message('question'))
    const broken = await attempt(episodes, id)
    broken.add(text('broken'))
    broken.end()
    const writer = await attempt(episodes, id)
    writer.add(text('whole'))
    const late = watching(there, id)
    await late.until(isPart('whole'))
    expect(partsOf(late.events)).toEqual([[2, 1, 'whole']])
    expect(kindsOf(late.events).slice(0, 2)).toEqual(['watching', 'message'])
  })

  test('the preview of a broken attempt is reset, and its late parts are not shown', async () => {
    const { episodes, here } = twoServers()
    const { id } = await newChat(store)
    const broken = await attempt(episodes, id)
    const seen = watching(here, id)
    broken.add(text('broken'))
    await seen.until(isPart('broken'))
    const writer = await attempt(episodes, id)
    await seen.until(({ event }) => event.kind === 'preview_reset' && event.attempt === 2)
    broken.add(text('late'))
    writer.add(text('whole'))
    await seen.until(isPart('whole'))
    const kinds = kindsOf(seen.events.slice(seen.events.findIndex(isPart('broken'))))
    expect(kinds).toEqual(['message_part', 'preview_reset', 'message_part'])
    expect(seen.events.some(isPart('late'))).toBe(false)
  })

  test('a server whose parts never come delays neither messages nor the status', async () => {
    const { id } = await newChat(store)
    await store.changeChat(id, chat => chat.update({ status: 'running' }))
    await taken(id)
    const hanging: LiveParts = {
      async *follow(_episode, _after, signal) {
        if (!signal.aborted) await new Promise(resolve => signal.addEventListener('abort', resolve, { once: true }))
      },
    }
    const watch = createChatWatch({ store, livePartsOf: () => hanging, logger: silentLogger })
    const seen = watching(watch, id)
    await seen.until(isKind('status'))
    await finish(id, 'response')
    await seen.until(isMessage('response'))
    await seen.until(({ event }) => event.kind === 'status' && event.status === 'waiting')
  })

  test('parts that are cut off go on behind the last one, and a server that is not reached yet is tried again', async () => {
    const { episodes } = twoServers()
    const { id } = await newChat(store)
    const writer = await attempt(episodes, id)
    for (const words of ['a', 'b', 'c', 'd', 'e']) writer.add(text(words))
    const asked: number[] = []
    let isReached = false
    const cutting: LiveParts = {
      async *follow(episode, after, signal) {
        asked.push(after)
        let left = 2
        for await (const event of episodes.follow(episode, after, signal)) {
          if (left-- === 0) throw new Error('the connection is lost')
          yield event
        }
      },
    }
    const livePartsOf: LivePartsOf = () => {
      const [was, is] = [isReached, true]
      isReached = is
      return was ? cutting : undefined
    }
    const seen = watching(createChatWatch({ store, livePartsOf, logger: silentLogger }), id)
    await seen.until(isPart('e'))
    expect(partsOf(seen.events).map(([, , words]) => words)).toEqual(['a', 'b', 'c', 'd', 'e'])
    expect(asked).toEqual([0, 2, 4])
  })

  test('messages and queue leave without internal fields', async () => {
    const { here } = twoServers()
    const { id } = await newChat(store)
    const parts = JSON.stringify([
      { type: 'reasoning', text: 'thought', internal: '{"signature":"secret"}' },
      { type: 'text', text: 'words', internal: 'secret' },
    ])
    await append(store, id, message('', { role: 'assistant', parts }))
    await store.changeChat(id, chat => chat.enqueue(message('', { parts })))
    const seen = watching(here, id)
    await seen.until(isKind('status'))
    expect(JSON.stringify(seen.events)).toContain('thought')
    expect(JSON.stringify(seen.events)).not.toMatch(/secret|internal/)
  })

  test('a long history comes page by page, each message once', async () => {
    const { here } = twoServers()
    const { id } = await newChat(store)
    await append(store, id, ...Array.from({ length: 250 }, (_, n) => message(`m${n}`)))
    const seen = watching(here, id)
    await seen.until(isKind('status'))
    const seqs = seen.events.flatMap(({ event }) => (event.kind === 'message' ? [event.message.seq] : []))
    expect(seqs).toEqual(Array.from({ length: 250 }, (_, n) => n + 1))
  })

  test('an edit deletes the messages behind it for a watcher: reset, then all that are left', async () => {
    const { there } = twoServers()
    const { id } = await newChat(store)
    await append(store, id, message('one'), message('two'), message('three'))
    const seen = watching(there, id)
    await seen.until(isMessage('three'))
    const changed = await store.changeChat(id, async chat => {
      await chat.deleteFrom(2)
      await chat.append(message('edited'))
      await chat.update({ historyChanged: true })
    })
    const historyVersion = changed?.row.historyVersion
    await seen.until(({ event }) => event.kind === 'preview_reset' && event.historyVersion === historyVersion)
    const behind = seen.events.slice(seen.events.findIndex(isKind('history_reset')))
    expect(kindsOf(behind).slice(0, 4)).toEqual(['history_reset', 'message', 'message', 'preview_reset'])
  })

  test('three hundred watchers of one chat share the reads of a change', async () => {
    let reads = 0
    const counted = {
      onChatChange: store.onChatChange,
      readChatVersions: store.readChatVersions,
      syncChat: (query: Parameters<Store['syncChat']>[0]) => {
        reads++
        return store.syncChat(query)
      },
    }
    const watch = createChatWatch({ store: counted, livePartsOf: () => undefined, logger: silentLogger })
    const { id } = await newChat(store)
    const seen = Array.from({ length: 300 }, () => watching(watch, id))
    for (const one of seen) await one.until(isKind('status'))
    expect(reads).toBeLessThan(10)
    reads = 0
    await append(other, id, message('shared'))
    for (const one of seen) await one.until(isMessage('shared'))
    expect(reads).toBeLessThan(10)
  })

  test('a slow watcher holds up neither the run nor another watcher', async () => {
    const { episodes, here } = twoServers()
    const { id } = await newChat(store)
    const slow = here.watch({ chatId: id }, undefined)
    expect((await slow.next()).value).toMatchObject({ event: { kind: 'watching' } })
    const quick = watching(here, id)
    const writer = await attempt(episodes, id)
    for (let n = 0; n < 100; n++) writer.add(text(`w${n}`))
    await quick.until(isPart('w99'))
    const got: WatchedEvent[] = []
    for await (const watched of slow) {
      got.push(watched)
      if (isPart('w99')(watched)) break
    }
    expect(partsOf(got)).toHaveLength(100)
  })

  test('a change whose notification is lost is found by the next look', async () => {
    const deaf = { ...store, onChatChange: () => () => {} }
    const watch = createChatWatch({ store: deaf, livePartsOf: () => undefined, logger: silentLogger, pollMs: 20 })
    const { id } = await newChat(store)
    const seen = watching(watch, id)
    await seen.until(isKind('status'))
    await append(other, id, message('unnoticed'))
    await seen.until(isMessage('unnoticed'))
  })

  test('a chat that is erased ends its watchers with unknown_chat', async () => {
    const { here } = twoServers()
    const { id, ownerId } = await newChat(store)
    const seen = watching(here, id)
    await seen.until(isKind('status'))
    await other.eraseChatsOf({ userId: ownerId, limit: 1 })
    expect(await seen.ended).toMatchObject({ code: 'NOT_FOUND', reason: 'unknown_chat' })
    expect(await watching(here, id).ended).toMatchObject({ reason: 'unknown_chat' })
  })

  test('an id of another chat, of another form or of a future is rejected before the first event', async () => {
    const { here } = twoServers()
    const [one, two] = [await newChat(store), await newChat(store)]
    const seen = watching(here, one.id)
    await seen.until(isKind('status'))
    const id = seen.events.at(-1)?.id ?? ''
    const future = id.replace(/^\d+\.\d+/, '1.99')
    for (const [chatId, lastEventId] of [
      [two.id, id],
      [one.id, ''],
      [one.id, future],
      [one.id, id.replace(/^\d+/, '500')],
      [one.id, id.replace(/^\d+/, '9999999999')],
      [one.id, id.replace(/^(\d+)\.\d+/, '$1.9999999999')],
    ] as const) {
      const rejected = watching(here, chatId, lastEventId)
      expect(await rejected.ended).toMatchObject({ code: 'BAD_REQUEST' })
      expect(rejected.events).toEqual([])
    }
  })

  test('a user sees the own chats, newest change first, and then each that is new or has changed, and no other', async () => {
    const [userId, stranger] = [await newOwner(store), await newOwner(store)]
    const first = await newChat(store, { ownerId: userId })
    const second = await newChat(store, { ownerId: userId })
    // Times have milliseconds, and within one the ids decide.
    for (let { updatedAt } = first; updatedAt <= second.updatedAt; ) {
      const changed = await store.changeChat(first.id, chat => chat.update({ title: 'newest' }))
      updatedAt = changed?.row.updatedAt ?? expect.fail('the chat is unknown')
    }
    const watch = createChatsWatch({ store: other })
    const seen = new Seen<ChatsEvent>(signal => watch.watchAll({ userId }, signal))
    const isChat = (id: string, title: string | null) => (event: ChatsEvent) =>
      event.kind === 'chat' && event.chat.id === id && event.chat.title === title
    await seen.until(isChat(second.id, null))
    expect(seen.events.map(event => (event.kind === 'chat' ? event.chat.id : event.kind))).toEqual([
      'watching',
      first.id,
      second.id,
    ])
    const foreign = await newChat(store, { ownerId: stranger })
    const third = await newChat(store, { ownerId: userId })
    await seen.until(isChat(third.id, null))
    await store.changeChat(second.id, chat => chat.update({ title: 'changed' }))
    await seen.until(isChat(second.id, 'changed'))
    expect(JSON.stringify(seen.events)).not.toContain(foreign.id)
    expect(JSON.stringify(seen.events)).not.toContain('leaseUntil')
  })
})
