/** The live parts of chats over real sockets: two servers on one database, each with the door for the other. */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { connectPeer } from '../../../../client/peer-connection.js'
import { PeerLinks } from '../../../../server/control-plane/peers/peer-links.js'
import { createPeerAuthenticator, createPeerToken } from '../../../../server/control-plane/peers/peer-token.js'
import { RelayedParts } from '../../../../server/control-plane/peers/relayed-parts.js'
import { openHttpFront } from '../../../../server/http/http-front.js'
import { peerRouter } from '../../../../server/routers/peer.js'
import { ConnectionGroup } from '../../../../server/rpc/connection-group.js'
import { serveWebSockets } from '../../../../server/rpc/upgrade/websocket-listener.js'
import { Episodes } from '../../../../server/services/chats/episodes.js'
import type { LivePart } from '../../../../server/services/chats/model.js'
import { createChatWatch } from '../../../../server/services/chats/watch/chat-watch.js'
import type { WatchedEvent } from '../../../../server/services/chats/watch/watcher-state.js'
import { createSecretBox } from '../../../../server/services/secrets.js'
import type { Store } from '../../../../server/store/store.js'
import { peerLimits } from '../../../../shared/contract/limits.js'
import { apiVersion } from '../../../../shared/contract/version.js'
import { silentLogger } from '../../../../shared/values/log.js'
import { leavesNothing } from '../../../fixtures/leaves-nothing.js'
import { stores } from '../../../fixtures/stores.js'
import { append, message, newChat } from '../../store/chats/new-chats.js'
import { key } from './replicas.js'

const secrets = createSecretBox([key(7)])

/** Ends of what a test has opened, the last one first. */
const ends: (() => unknown)[] = []
const atEnd = (end: () => unknown) => void ends.push(end)
async function endAll(): Promise<void> {
  for (let end = ends.pop(); end; end = ends.pop()) await end()
}

/** A way to a server whose sockets can be cut, or that takes connections and says nothing. */
async function cuttable(targetPort: () => number) {
  const sockets = new Set<Socket>()
  let isSilent = false
  const server = createServer(near => {
    sockets.add(near)
    near.on('error', () => {})
    near.on('close', () => sockets.delete(near))
    if (isSilent) return
    const far = connect(targetPort(), '127.0.0.1')
    far.on('error', () => {})
    far.on('close', () => near.destroy())
    near.on('close', () => far.destroy())
    near.pipe(far)
    far.pipe(near)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  atEnd(async () => {
    server.close()
    cut()
    await once(server, 'close')
  })
  const { port } = server.address() as AddressInfo // it listens on TCP
  return {
    url: `http://127.0.0.1:${port}`,
    cut,
    silence() {
      isSilent = true
    },
  }
}

/** A server of the database: its own episodes, its door, and its links to the others. */
async function openServer(store: Store) {
  const id = randomUUID()
  const group = new ConnectionGroup()
  const episodes = new Episodes()
  const front = await openHttpFront({
    host: '127.0.0.1',
    port: 0,
    listener: (_request, response) => response.end(),
    webSocketPaths: ['/peer'],
    logger: silentLogger,
  })
  serveWebSockets({
    server: front.server,
    path: '/peer',
    group,
    version: apiVersion,
    router: peerRouter,
    limits: { maxInFlight: peerLimits.maxInFlight, maxSubscriptions: peerLimits.maxSubscriptions },
    authenticate: createPeerAuthenticator({ keys: secrets, replica: id }),
    createContext: () => ({
      heldAgents: { callHeld: () => Promise.reject(new Error('no agents')) },
      liveParts: episodes,
    }),
  })
  const way = await cuttable(() => Number(new URL(front.url).port))
  await store.recordReplicaSeen({ id, advertiseUrl: way.url })
  const peers = new PeerLinks({
    connectPeer,
    createToken: target => createPeerToken(secrets, target),
    logger: silentLogger,
  })
  let relayedParts = 0
  const relayed = new RelayedParts({ store, peers, onPart: () => relayedParts++ })
  const chats = createChatWatch({
    store,
    livePartsOf: runner => (runner === id ? episodes : relayed.of(runner)),
    logger: silentLogger,
  })
  atEnd(async () => {
    episodes.close()
    await peers.close()
    await Promise.all([group.close({ graceMs: 0 }), front.close(0)])
    await store.forgetReplicas({ id, notSeenForMs: 60_000 })
  })
  return {
    id,
    episodes,
    chats,
    group,
    relayed,
    way,
    relayedParts: () => relayedParts,
    /** Begins an attempt of a chat at this server. */
    async attempt(chatId: string) {
      await store.changeChat(chatId, chat => chat.update({ status: 'running', attempt: chat.row.attempt + 1 }))
      const row = await store.takeChat({ id: chatId, runner: id, leaseMs: 60_000 })
      if (!row) throw new Error('the chat does not run')
      return episodes.begin({ chatId, historyVersion: row.historyVersion, attempt: row.attempt })
    },
  }
}
type Server = Awaited<ReturnType<typeof openServer>>

function watching({ chats }: Server, chatId: string, lastEventId?: string) {
  const abort = new AbortController()
  const events: WatchedEvent[] = []
  let wake = () => {}
  const done = (async () => {
    for await (const event of chats.watch({ chatId, lastEventId }, abort.signal)) {
      events.push(event)
      wake()
    }
  })()
  const stop = () => {
    abort.abort()
    return done
  }
  atEnd(stop)
  return {
    events,
    stop,
    async until(isWanted: (event: WatchedEvent) => boolean) {
      while (!events.some(isWanted)) {
        await new Promise<void>(resolve => {
          wake = resolve
        })
      }
    },
  }
}

const text = (words: string): LivePart => ({ role: 'assistant', index: 0, part: { type: 'text', text: words } })
const wordsOf = (events: readonly WatchedEvent[]) =>
  events.flatMap(({ event }) => (event.kind === 'message_part' && event.part.type === 'text' ? [event.part.text] : []))
const isWord = (words: string) => (watched: WatchedEvent) => wordsOf([watched])[0] === words
const isStatus = (status: string) => (watched: WatchedEvent) =>
  watched.event.kind === 'status' && watched.event.status === status
const numbered = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => `w${from + n}`)

describe.each(stores)('live parts of a chat that another server runs: $name', ({ name, openTwo }) => {
  let one: Store
  let two: Store
  beforeAll(async () => {
    ;[one, two] = await openTwo()
  })
  afterAll(async () => {
    await one.close()
    await two.close()
  })
  // The listener of PostgreSQL looks at its connection all the time.
  if (name.startsWith('embedded')) leavesNothing()
  afterEach(endAll)

  const openBoth = async () => [await openServer(one), await openServer(two)] as const
  const finish = (id: string, words: string) =>
    one.changeChat(id, async chat => {
      await chat.append(message(words, { role: 'assistant' }))
      await chat.update({ status: 'waiting', historyChanged: true, released: true })
    })

  test('a watcher gets the parts of a remote owner in order, and then the message', async () => {
    const [owner, front] = await openBoth()
    const { id } = await newChat(one)
    const writer = await owner.attempt(id)
    const seen = watching(front, id)
    for (const words of numbered(0, 20)) writer.add(text(words))
    await seen.until(isWord('w19'))
    await finish(id, 'response')
    writer.end()
    await seen.until(isStatus('waiting'))
    expect(wordsOf(seen.events)).toEqual(numbered(0, 20))
    expect(front.relayedParts()).toBe(20)
    await expect.poll(() => front.relayed.relays).toBe(0)
  })

  test('many watchers of one chat share one subscription at its owner', async () => {
    const [owner, front] = await openBoth()
    const { id } = await newChat(one)
    const writer = await owner.attempt(id)
    const seen = Array.from({ length: 50 }, () => watching(front, id))
    writer.add(text('w0'))
    for (const each of seen) await each.until(isWord('w0'))
    expect([front.relayed.relays, front.relayedParts()]).toEqual([1, 1])
    await Promise.all(seen.map(each => each.stop()))
    await expect.poll(() => [front.relayed.relays, owner.group.calls]).toEqual([0, 0])
  })

  // An embedded store has one server.
  test.skipIf(name.startsWith('embedded'))('three hundred chats run through one connection', async () => {
    const [owner, front] = await openBoth()
    const ids = await Promise.all(Array.from({ length: 300 }, async () => (await newChat(one)).id))
    const seen = ids.map(id => watching(front, id))
    for (const each of seen) await each.until(isStatus('waiting'))
    await Promise.all(ids.map(async id => (await owner.attempt(id)).add(text('w0'))))
    for (const each of seen) await each.until(isWord('w0'))
    expect(owner.group.connections).toBe(1)
    await Promise.all(seen.map(each => each.stop()))
  })

  test('a socket that is cut in the middle of a response goes on behind the last part, each time', async () => {
    const [owner, front] = await openBoth()
    const { id } = await newChat(one)
    const writer = await owner.attempt(id)
    const seen = watching(front, id)
    for (let round = 0; round < 4; round++) {
      for (const words of numbered(round * 5, round * 5 + 5)) writer.add(text(words))
      await seen.until(isWord(`w${round * 5 + 4}`))
      owner.way.cut()
    }
    writer.add(text('w20'))
    await seen.until(isWord('w20'))
    expect(wordsOf(seen.events)).toEqual(numbered(0, 21))
    expect(seen.events.filter(({ event }) => event.kind === 'preview_reset')).toHaveLength(1)
  })

  test('a watcher that moves between the servers at every part misses none and sees none twice', async () => {
    const [owner, front] = await openBoth()
    const { id } = await newChat(one)
    const writer = await owner.attempt(id)
    const got: WatchedEvent[] = []
    for (let part = 0; part < 12; part++) {
      writer.add(text(`w${part}`))
      const moved = watching(part % 2 ? owner : front, id, got.at(-1)?.id)
      await moved.until(({ event }) => event.kind === 'message_part')
      await moved.stop()
      got.push(...moved.events.filter(({ event }) => event.kind === 'message_part'))
    }
    expect(wordsOf(got)).toEqual(numbered(0, 12))
  })

  test('a dial that hangs delays neither the messages nor the status', async () => {
    const [owner, front] = await openBoth()
    owner.way.silence()
    const { id } = await newChat(one)
    await append(one, id, message('question'))
    const writer = await owner.attempt(id)
    writer.add(text('w0'))
    const seen = watching(front, id)
    await seen.until(isStatus('running'))
    await finish(id, 'response')
    await seen.until(isStatus('waiting'))
    expect(seen.events.filter(({ event }) => event.kind === 'message')).toHaveLength(2)
    expect(wordsOf(seen.events)).toEqual([])
  })

  test('a chat that finishes before its parts can be followed has its message once, and no part behind it', async () => {
    const [owner, front] = await openBoth()
    const { id } = await newChat(one)
    const seen = watching(front, id)
    await seen.until(isStatus('waiting'))
    const writer = await owner.attempt(id)
    writer.add(text('w0'))
    writer.end()
    await finish(id, 'response')
    await seen.until(({ event }) => event.kind === 'message')
    await seen.until(isStatus('waiting'))
    const place = seen.events.findIndex(({ event }) => event.kind === 'message')
    expect(wordsOf(seen.events.slice(place))).toEqual([])
    expect(seen.events.filter(({ event }) => event.kind === 'message')).toHaveLength(1)
  })

  test('a server that takes over begins a new attempt: the preview is reset, and no part of the old one comes', async () => {
    const [first, second] = await openBoth()
    const third = await openServer(two)
    const { id } = await newChat(one)
    const stale = await first.attempt(id)
    const seen = watching(third, id)
    stale.add(text('stale'))
    await seen.until(isWord('stale'))
    const writer = await second.attempt(id)
    writer.add(text('w0'))
    await seen.until(isWord('w0'))
    stale.add(text('late'))
    writer.add(text('w1'))
    await seen.until(isWord('w1'))
    expect(wordsOf(seen.events)).toEqual(['stale', 'w0', 'w1'])
    const reset = seen.events.findIndex(({ event }) => event.kind === 'preview_reset' && event.attempt === 2)
    expect(reset).toBeGreaterThan(seen.events.findIndex(isWord('stale')))
    expect(reset).toBeLessThan(seen.events.findIndex(isWord('w0')))
  })

  test('an owner that nobody reaches costs the live parts only, and its parts come as soon as it is reached', async () => {
    const [owner, front] = await openBoth()
    await two.forgetReplicas({ id: owner.id, notSeenForMs: 60_000 })
    const { id } = await newChat(one)
    const writer = await owner.attempt(id)
    writer.add(text('w0'))
    const seen = watching(front, id)
    await seen.until(isStatus('running'))
    await two.recordReplicaSeen({ id: owner.id, advertiseUrl: owner.way.url })
    await seen.until(isWord('w0'))
  })

  /** The watch of a server whose memory for the parts of others holds a few. */
  function openSmall(owner: Server) {
    const row = { id: owner.id, advertiseUrl: owner.way.url }
    let fetches = 0
    const store = {
      findReplica: async () => {
        fetches++
        return row
      },
    }
    const peers = new PeerLinks({ connectPeer, createToken: to => createPeerToken(secrets, to), logger: silentLogger })
    atEnd(() => peers.close())
    const small = new RelayedParts({ store, peers, maxBytes: 1_000 })
    const chats = createChatWatch({ store: two, livePartsOf: runner => small.of(runner), logger: silentLogger })
    return { chats, fetches: () => fetches }
  }

  test('parts above the bounds of this server are cut, and the message comes', async () => {
    const [owner, front] = await openBoth()
    const { id } = await newChat(one)
    const { chats } = openSmall(owner)
    const seen = watching({ ...front, chats }, id)
    const writer = await owner.attempt(id)
    for (const words of numbered(0, 20)) writer.add(text(words))
    await seen.until(({ event }) => event.kind === 'preview_cut')
    await finish(id, 'response')
    await seen.until(({ event }) => event.kind === 'message')
    const words = wordsOf(seen.events)
    expect(words.length).toBeGreaterThan(0)
    expect(words).toEqual(numbered(0, words.length))
  })

  test('a watcher whose place is behind the bounds of a server gets the cut there, and one fetch of the parts', async () => {
    const [owner, front] = await openBoth()
    const { id } = await newChat(one)
    const writer = await owner.attempt(id)
    for (const words of numbered(0, 20)) writer.add(text(words))
    const before = watching(owner, id)
    await before.until(isWord('w19'))
    const { chats, fetches } = openSmall(owner)
    const seen = watching({ ...front, chats }, id, before.events.at(-1)?.id)
    await seen.until(({ event }) => event.kind === 'preview_cut')
    expect(wordsOf(seen.events)).toEqual([])
    await finish(id, 'response')
    await seen.until(({ event }) => event.kind === 'message')
    expect(fetches()).toBe(1)
  })
})
