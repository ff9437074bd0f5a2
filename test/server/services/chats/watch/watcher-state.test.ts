import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { Episode, EpisodeEvent } from '../../../../../server/services/chats/live-parts.js'
import { parseCursor } from '../../../../../server/services/chats/watch/chat-cursor.js'
import {
  type SyncPage,
  type WatchedEvent,
  WatcherState,
} from '../../../../../server/services/chats/watch/watcher-state.js'
import type { ChatRow } from '../../../../../server/store/store.js'
import type { ChatEvent, ChatMessage } from '../../../../../shared/contract/chats.js'
import { fc } from '../../../../fixtures/random.js'

const chatId = '019a0000-0000-7000-8000-00000000abcd'
const runner = randomUUID()

function rowOf(fields: Partial<ChatRow> = {}): ChatRow {
  return {
    id: chatId,
    ownerId: randomUUID(),
    username: 'ada',
    agentId: null,
    provider: 'demo',
    model: 'm',
    api: 'anthropic-messages',
    title: null,
    system: null,
    cwd: null,
    status: 'waiting',
    archived: false,
    version: 1,
    historyVersion: 1,
    queueVersion: 1,
    attempt: 0,
    retry: null,
    lastError: null,
    agentInstance: null,
    runner: null,
    fence: 0,
    leaseUntil: null,
    createdAt: new Date(0),
    updatedAt: new Date(0),
    ...fields,
  }
}

function messageOf(seq: number): ChatMessage {
  return {
    id: randomUUID(),
    seq,
    role: 'user',
    parts: [{ type: 'text', text: String(seq) }],
    createdAt: new Date(0),
    usage: null,
    interceptionId: null,
    finishReason: null,
    interrupted: false,
  }
}

const page = (row: ChatRow, fields: Partial<SyncPage> = {}): SyncPage => ({
  row,
  lastSeq: fields.messages?.at(-1)?.seq ?? 0,
  wasReset: false,
  messages: [],
  hasMore: false,
  queue: [],
  ...fields,
})
const kinds = (events: readonly WatchedEvent[]) => events.map(({ event }) => event.kind)
const part = (seq: number): EpisodeEvent => ({
  kind: 'part',
  seq,
  part: { role: 'assistant', index: 0, part: { type: 'text', text: String(seq) } },
})
const running = (fields: Partial<ChatRow> = {}) =>
  rowOf({ status: 'running', runner, version: 3, historyVersion: 2, attempt: 1, ...fields })
const episode: Episode = { chatId, historyVersion: 2, attempt: 1 }

/** A watcher that has seen the beginning of a running attempt. */
function following(): WatcherState {
  const state = new WatcherState(chatId, undefined)
  state.begin()
  state.sync(page(running(), { messages: [messageOf(1)] }))
  return state
}

describe('a watcher of a chat', () => {
  test('a new watcher gets messages, a reset of the preview, the queue and the status, in this order', () => {
    const state = new WatcherState(chatId, undefined)
    expect(state.begin()).toEqual({ id: `0.0.0.0.${chatId.slice(-12)}`, event: { kind: 'watching' } })
    const retry = { attempt: 1, at: new Date(0), reason: 'rate_limited', message: 'm' }
    const events = state.sync(page(running({ retry }), { messages: [messageOf(1), messageOf(4)] }))
    expect(kinds(events)).toEqual(['message', 'message', 'preview_reset', 'queue_update', 'status', 'retry'])
    expect(state.target).toEqual({ runner, episode, after: 0 })
  })

  test('the queue and the status come behind the last page of messages, and no part is followed before', () => {
    const state = new WatcherState(chatId, undefined)
    const first = state.sync(page(running(), { messages: [messageOf(1)], hasMore: true }))
    expect(kinds(first)).toEqual(['message', 'preview_reset'])
    expect(state.target).toBeUndefined()
    expect(kinds(state.sync(page(running(), { messages: [messageOf(2)] })))).toEqual([
      'message',
      'queue_update',
      'status',
    ])
    expect(state.target).toBeDefined()
  })

  test('a part is taken if it is the next one of the shown attempt, and no other', () => {
    const state = following()
    expect(state.part(episode, part(2)), 'a gap').toBeUndefined()
    expect(state.part({ ...episode, attempt: 2 }, part(1)), 'a newer attempt').toBeUndefined()
    expect(state.part({ ...episode, historyVersion: 1 }, part(1)), 'an older history').toBeUndefined()
    expect(state.part(episode, part(1))).toMatchObject({
      id: `1.2.1.1.${chatId.slice(-12)}`,
      event: { kind: 'message_part', historyVersion: 2, attempt: 1, seq: 1, role: 'assistant', index: 0 },
    })
    expect(state.part(episode, part(1)), 'a repeat').toBeUndefined()
    expect(state.part(episode, part(2))).toBeDefined()
    expect(state.target).toMatchObject({ after: 2 })
  })

  test('a new attempt resets the preview; a change of the chat that is no attempt does not', () => {
    const state = following()
    state.part(episode, part(1))
    expect(state.sync(page(running({ version: 9 })))).toEqual([])
    expect(state.target).toMatchObject({ after: 1 })
    const events = state.sync(page(running({ version: 10, attempt: 2 })))
    expect(events.map(({ event }) => event)).toEqual([{ kind: 'preview_reset', historyVersion: 2, attempt: 2 }])
    expect(state.part(episode, part(2)), 'a late part of the broken attempt').toBeUndefined()
    expect(state.target).toEqual({ runner, episode: { ...episode, attempt: 2 }, after: 0 })
  })

  test.each(['error', 'waiting'] as const)(
    'an attempt that ends in %s without a message resets the preview once',
    status => {
      const state = following()
      state.part(episode, part(1))
      const ended = page(rowOf({ ...running(), status, runner: null, version: 4 }))
      const reset = { kind: 'preview_reset', historyVersion: 2, attempt: 1 }
      const events = state.sync(ended)
      expect(events.map(({ event }) => event).slice(0, 1)).toEqual([reset])
      expect(events[0]?.id).toBe(`1.2.1.0.${chatId.slice(-12)}`)
      expect(kinds(events)).toEqual(['preview_reset', 'status'])
      expect(state.part(episode, part(1)), 'a late part').toBeUndefined()
      expect(state.sync(ended)).toEqual([])
      const resumed = new WatcherState(chatId, { seq: 1, historyVersion: 2, attempt: 1, partSeq: 5 })
      expect(resumed.sync(ended)[0]?.event, 'a watcher that was away').toEqual(reset)
    },
  )

  test('a full buffer is one event, and the rest comes with the message', () => {
    const state = following()
    expect(state.part(episode, { kind: 'cut' })).toMatchObject({ event: { kind: 'preview_cut', attempt: 1 } })
    expect(state.part(episode, { kind: 'cut' })).toBeUndefined()
    expect(state.target).toBeUndefined()
  })

  test('behind the end of an attempt nothing is followed until the next one, also at another server', () => {
    const state = following()
    expect(state.part(episode, { kind: 'ended' })).toBeUndefined()
    expect(state.target).toBeUndefined()
    const other = randomUUID()
    state.sync(page(running({ attempt: 2, runner: other, version: 5 })))
    expect(state.target).toMatchObject({ runner: other, episode: { attempt: 2 }, after: 0 })
    state.sync(page(rowOf({ version: 6, historyVersion: 6 }), { messages: [messageOf(2)] }))
    expect(state.target).toBeUndefined()
  })

  test('deleted messages are a reset, behind which all that are left follow', () => {
    const state = following()
    state.part(episode, part(1))
    const row = running({ historyVersion: 7, attempt: 0, version: 7 })
    const events = state.sync(page(row, { wasReset: true, messages: [messageOf(2)] }))
    expect(kinds(events)).toEqual(['history_reset', 'message', 'preview_reset'])
    expect(events.map(({ id }) => id.split('.').slice(0, 4).join('.'))).toEqual(['0.7.0.0', '2.7.0.0', '2.7.0.0'])
  })

  test('a resumed watcher goes on in the middle of a response, without a reset', () => {
    const state = new WatcherState(chatId, { seq: 1, historyVersion: 2, attempt: 1, partSeq: 5 })
    const events = [state.begin(), ...state.sync(page(running()))]
    expect(kinds(events)).toEqual(['watching', 'queue_update', 'status', 'retry', 'error'])
    expect(state.target).toEqual({ runner, episode, after: 5 })
    expect(state.part(episode, part(6))).toBeDefined()
  })

  test('an id of another chat, of another form or of a future is no event of this chat', () => {
    const other = '019a0000-0000-7000-8000-00000000ffff'
    const { id } = new WatcherState(other, undefined).begin()
    // Each number is one that the database does not take.
    const large = [0, 1, 2, 3].map(
      place => `${[0, 1, 2, 3].map(n => (n === place ? 2_147_483_648 : 0)).join('.')}.${chatId.slice(-12)}`,
    )
    for (const bad of [id, '', '1.2.3.4', `1.2.3.${chatId.slice(-12)}`, `-1.0.0.0.${chatId.slice(-12)}`, ...large]) {
      expect(() => parseCursor(chatId, bad), bad).toThrow('is no event of chat')
    }
    const cursor = { seq: 1, historyVersion: 2, attempt: 1, partSeq: 0 }
    const isPlaceIn = (historyVersion: number, attempt: number, lastSeq = 1) =>
      new WatcherState(chatId, cursor).isPlaceIn({ row: { historyVersion, attempt }, lastSeq })
    expect(isPlaceIn(2, 1)).toBe(true)
    expect(isPlaceIn(3, 0)).toBe(true)
    expect(isPlaceIn(2, 0)).toBe(false)
    expect(isPlaceIn(1, 9)).toBe(false)
    expect(isPlaceIn(2, 1, 0), 'a message that the chat has not had').toBe(false)
  })
})

/** A chat as a database and the buffer of its owner have it. */
class ModelChat {
  row = rowOf()
  messages: { message: ChatMessage; isDeleted: boolean; version: number }[] = []
  parts: number[] = []

  #next(fields: Partial<ChatRow>, historyChanged = false): void {
    const version = this.row.version + 1
    this.row = { ...this.row, ...fields, version }
    if (!historyChanged) return
    this.row = { ...this.row, historyVersion: version, attempt: 0 }
    this.parts = []
  }

  append(): void {
    this.messages.push({
      message: messageOf(this.messages.length + 1),
      isDeleted: false,
      version: this.row.version + 1,
    })
    this.#next({}, true)
  }

  edit(from: number): void {
    for (const one of this.messages) {
      if (one.message.seq < from || one.isDeleted) continue
      one.isDeleted = true
      one.version = this.row.version + 1
    }
    this.append()
  }

  attempt(): void {
    this.#next({ status: 'running', runner, attempt: this.row.attempt + 1 })
    this.parts = []
  }

  stream(): void {
    if (this.row.attempt > 0) this.parts.push(this.parts.length + 1)
  }

  get left(): number[] {
    return this.messages.flatMap(({ message, isDeleted }) => (isDeleted ? [] : [message.seq]))
  }

  sync({ seq, historyVersion }: { seq: number; historyVersion: number }, limit: number): SyncPage {
    const wasReset = this.messages.some(one => one.isDeleted && one.message.seq <= seq && one.version > historyVersion)
    const behind = this.messages.filter(one => !one.isDeleted && one.message.seq > (wasReset ? 0 : seq))
    const messages = behind.slice(0, limit).map(({ message }) => message)
    const hasMore = behind.length > limit
    return { row: this.row, lastSeq: this.messages.length, wasReset, messages, hasMore, queue: [] }
  }
}

/** The view of a client: the state that all events up to one make. */
interface View {
  messages: readonly number[]
  preview: { historyVersion: number; attempt: number; parts: readonly number[] } | undefined
}

function after(view: View, event: ChatEvent): View {
  switch (event.kind) {
    case 'history_reset':
      return { ...view, messages: [] }
    case 'message':
      return { ...view, messages: [...view.messages, event.message.seq] }
    case 'preview_reset':
      return { ...view, preview: { historyVersion: event.historyVersion, attempt: event.attempt, parts: [] } }
    case 'message_part': {
      const { historyVersion, attempt, seq } = event
      expect(view.preview, 'a part of the shown attempt').toMatchObject({ historyVersion, attempt })
      const parts = view.preview?.parts ?? []
      expect(seq, 'the next part').toBe(parts.length + 1)
      return { ...view, preview: { historyVersion, attempt, parts: [...parts, seq] } }
    }
    default:
      return view
  }
}

type Step =
  | { do: 'append' }
  | { do: 'attempt' }
  | { do: 'stream' }
  | { do: 'edit'; from: number }
  | { do: 'sync'; limit: number }
  | { do: 'part'; seq: number; stale: boolean }
  | { do: 'resume'; back: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('append', 'attempt') }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('stream') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('edit'), from: fc.integer({ min: 1, max: 12 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('sync'), limit: fc.integer({ min: 1, max: 3 }) }) },
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constant('part'), seq: fc.integer({ min: 1, max: 8 }), stale: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('resume'), back: fc.nat({ max: 6 }) }) },
) as fc.Arbitrary<Step> // the compiler widens the names of constants

describe('any order of changes, reads, parts and moves between servers', () => {
  test('a watcher ends with all messages once, and with the parts of the current attempt', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), steps => {
        const chat = new ModelChat()
        let state = new WatcherState(chatId, undefined)
        /** what the client has behind each event */
        const log: { id: string; view: View }[] = []
        let view: View = { messages: [], preview: undefined }
        const take = (events: readonly (WatchedEvent | undefined)[]) => {
          for (const watched of events) {
            if (!watched) continue
            view = after(view, watched.event)
            log.push({ id: watched.id, view })
          }
        }
        const sync = (limit: number) => {
          const read = chat.sync(state.cursor, limit)
          take(state.sync(read))
          return read.hasMore
        }
        for (const one of steps) {
          switch (one.do) {
            case 'append':
              chat.append()
              break
            case 'attempt':
              chat.attempt()
              break
            case 'stream':
              chat.stream()
              break
            case 'edit':
              chat.edit(one.from)
              break
            case 'sync':
              sync(one.limit)
              break
            case 'part': {
              const { historyVersion, attempt } = chat.row
              const isThere = one.seq <= chat.parts.length
              const of = { chatId, historyVersion, attempt: one.stale ? attempt - 1 : attempt }
              if (isThere || one.stale) take([state.part(of, part(one.seq))])
              break
            }
            case 'resume': {
              const last = log.at(-1 - one.back)
              state = new WatcherState(chatId, last && parseCursor(chatId, last.id))
              view = last?.view ?? { messages: [], preview: undefined }
              take([state.begin()])
            }
          }
        }
        while (sync(2));
        for (const seq of chat.parts) {
          const { historyVersion, attempt } = chat.row
          take([state.part({ chatId, historyVersion, attempt }, part(seq))])
        }
        const { historyVersion, attempt } = chat.row
        expect(view).toEqual({ messages: chat.left, preview: { historyVersion, attempt, parts: chat.parts } })
      }),
      { numRuns: 500 },
    )
  })
})
