/** The judge of the soak of chats against accounts with one fault each. */
import { expect, test } from 'vitest'
import type { ChatEvent, ChatMessage } from '../../../shared/contract/chats.js'
import type { Accounts, RunningProcess, SentAccount } from './accounts.js'
import { offencesOf } from './judge.js'
import type { OffenceKind } from './offence.js'

const chatId = 'chat'
const user = message(1, 'user', [{ type: 'text', text: 'chat-0 message 0' }])
const asks = message(2, 'assistant', [
  { type: 'text', text: 'answer #1 w0 .' },
  { type: 'tool-call', toolCallId: 'toolu_1_0', toolName: 'execute', input: '{}' },
])
const ran = message(3, 'tool', [
  { type: 'tool-result', toolCallId: 'toolu_1_0', toolName: 'execute', output: 'out', isError: false },
])
const answers = message(4, 'assistant', [{ type: 'text', text: 'answer #2 w0 .' }])

function message(seq: number, role: ChatMessage['role'], parts: ChatMessage['parts']): ChatMessage {
  const number = seq === 2 ? 1 : 2
  const usage =
    role === 'assistant' ? { inputTokens: 1, outputTokens: number, cacheReadTokens: 0, cacheWriteTokens: 0 } : null
  const interceptionId = role === 'assistant' ? `interception-${number}` : null
  const rest = { finishReason: null, interrupted: false, createdAt: new Date(0) }
  return { id: `message-${seq}`, seq, role, parts, usage, interceptionId, ...rest } as ChatMessage // fields of a judge
}

function sentMessage(id: string, text: string): SentAccount {
  return { id, text, state: 'acknowledged', said: ['stored'] }
}

/** What all sides see of a turn with a command, in which nothing went wrong. */
function sound() {
  const first = ['user:chat-0 message 0']
  const history = [...first, 'assistant:answer #1 w0 .', 'call:toolu_1_0', 'result:toolu_1_0']
  const messages = [user, asks, ran, answers]
  const episode = { historyVersion: 5, attempt: 1 }
  const part = (seq: number, text: string) =>
    ({ kind: 'message_part', ...episode, seq, role: 'assistant', part: { type: 'text', text } }) as ChatEvent
  const events: ChatEvent[] = [
    ...messages.slice(0, 3).map((message): ChatEvent => ({ kind: 'message', message })),
    { kind: 'preview_reset', ...episode },
    part(1, 'answer #2 '),
    part(2, 'w0 .'),
    { kind: 'message', message: answers },
  ]
  const call = { tag: 'chat-0', isLong: false, isCut: false, at: 0 }
  return {
    chats: [
      {
        id: chatId,
        tag: 'chat-0',
        sent: [sentMessage(user.id, 'chat-0 message 0')],
        wasInterrupted: false,
        cuts: [] as number[],
      },
    ],
    calls: [
      { ...call, number: 1, history: first, text: 'answer #1 w0 .', toolCallIds: ['toolu_1_0'] },
      { ...call, number: 2, history, text: 'answer #2 w0 .', toolCallIds: [] as string[] },
    ],
    strikes: [] as number[],
    kills: [] as number[],
    rejections: [] as string[],
    runs: ['toolu_1_0'],
    running: [] as RunningProcess[],
    watches: [{ chatId, events: events.map((event, id) => ({ id: `${id}`, event, replica: 'a' })) }],
    stored: new Map([[chatId, { status: 'waiting' as string, lastError: null, queueLength: 0, messages }]]),
    interceptions: new Map([
      ['interception-1', 1],
      ['interception-2', 2],
    ]),
  }
}

type Sound = ReturnType<typeof sound>
const kindsOf = (accounts: Sound) => [...new Set(offencesOf(accounts as Accounts).map(({ kind }) => kind))]
const storedOf = ({ stored }: Sound) => stored.get(chatId) ?? expect.fail('the chat is missing')
const eventsOf = ({ watches }: Sound) => watches[0]?.events ?? []
const callOf = ({ calls }: Sound, index: number) => calls[index] ?? expect.fail('the call is missing')

test('accounts that agree show no offence', () => {
  expect(kindsOf(sound())).toEqual([])
})

const faults: readonly [OffenceKind, string, (accounts: Sound) => unknown][] = [
  ['twice', 'a command that ran twice', accounts => accounts.runs.push('toolu_1_0')],
  ['twice', 'a message that is stored twice', accounts => storedOf(accounts).messages.splice(1, 0, user)],
  ['missing', 'a chat that is gone', ({ stored }) => stored.clear()],
  ['missing', 'an acknowledged message that is gone', accounts => storedOf(accounts).messages.shift()],
  ['missing', 'a message without a response', accounts => storedOf(accounts).messages.splice(1)],
  [
    'invented',
    'a message that was taken back',
    ({ chats }) => Object.assign(chats[0]?.sent[0] ?? {}, { state: 'gone' }),
  ],
  [
    'truncated',
    'a response that lacks its end',
    accounts => Object.assign(callOf(accounts, 1), { text: 'answer #2 w0 . w1' }),
  ],
  ['history', 'a call with another history', accounts => callOf(accounts, 1).history.pop()],
  ['unended', 'a turn that failed', accounts => Object.assign(storedOf(accounts), { status: 'error' })],
  ['unended', 'a call without its result', accounts => storedOf(accounts).messages.splice(2, 1)],
  [
    'repeated',
    'a model that is asked again without a cause',
    accounts => accounts.calls.push(callOf(accounts, 0), callOf(accounts, 0)),
  ],
  ['stale', 'a part that is missing', accounts => eventsOf(accounts).splice(4, 1)],
  ['stale', 'a part of another attempt', accounts => Object.assign(eventsOf(accounts)[4]?.event ?? {}, { attempt: 2 })],
  ['unseen', 'a watcher without the last message', accounts => eventsOf(accounts).pop()],
  ['missing', 'a stored message that is said to be dequeued', ({ chats }) => chats[0]?.sent[0]?.said.push('dequeued')],
  [
    'missing',
    'a message that was taken back, and is said to wait',
    ({ chats }) => chats[0]?.sent.push({ ...sentMessage('gone', 'gone'), state: 'gone', said: ['queued', 'queued'] }),
  ],
  [
    'invented',
    'a message that is said to be dequeued, and is there',
    ({ chats }) => Object.assign(chats[0]?.sent[0] ?? {}, { said: ['queued', 'dequeued'] }),
  ],
  [
    'invented',
    'a message that waits in a queue that was emptied',
    ({ chats }) => Object.assign(chats[0]?.sent[0] ?? {}, { outlivedClear: true }),
  ],
  ['orphan', 'a command that outlives its turn', ({ running }) => running.push({ id: 'process', scope: chatId })],
  ['uncounted', 'a response without its interception', ({ interceptions }) => interceptions.clear()],
  ['uncounted', 'a response with other tokens', ({ interceptions }) => interceptions.set('interception-2', 9)],
]

/** A second turn, of a message that was sent behind the first one. */
function withSecondTurn(accounts: Sound, ...texts: string[]): SentAccount[] {
  const { messages } = storedOf(accounts)
  const sent = texts.map(text => sentMessage(`message-${text}`, text))
  sent.forEach(({ id, text }, index) => {
    const number = 3 + index
    const seq = 5 + 2 * index
    const asked = { ...user, id, seq, parts: [{ type: 'text', text }] } as ChatMessage
    const text1 = `answer #${number} .`
    const usage = { ...answers.usage, outputTokens: number }
    const answer = { ...answers, id: `answer-${number}`, seq: seq + 1, usage, interceptionId: `i-${number}` }
    const history = [...messages, asked].flatMap(({ role, parts }) =>
      parts.map(part =>
        part.type === 'text' ? `${role}:${part.text}` : `${part.type.slice(5)}:${toolCallIdOf(part)}`,
      ),
    )
    accounts.calls.push({ ...callOf(accounts, 1), number, history, text: text1, toolCallIds: [] })
    accounts.interceptions.set(`i-${number}`, number)
    messages.push(asked, { ...answer, parts: [{ type: 'text', text: text1 }] } as ChatMessage)
  })
  accounts.chats[0]?.sent.push(...sent)
  const seen = eventsOf(accounts)
  for (const message of messages.slice(4)) {
    seen.push({ id: `m${message.seq}`, event: { kind: 'message', message }, replica: 'a' })
  }
  return sent
}

function toolCallIdOf(part: ChatMessage['parts'][number]): string {
  return part.type === 'tool-call' || part.type === 'tool-result' ? part.toolCallId : ''
}

test('a promoted message stands before the earlier ones that waited', () => {
  const accounts = sound()
  const [second, first] = withSecondTurn(accounts, 'b', 'a')
  if (!first || !second) return expect.fail('two messages were sent')
  accounts.chats[0]?.sent.reverse()
  accounts.chats[0]?.sent.unshift(...(accounts.chats[0]?.sent.splice(2) ?? []))
  expect(kindsOf(accounts)).toEqual(['history'])
  second.mayPrecede = [first.id]
  second.mustPrecede = [first.id]
  expect(kindsOf(accounts)).toEqual([])
})

test('a promoted message behind one that waited behind it is an offence', () => {
  const accounts = sound()
  const [first, second] = withSecondTurn(accounts, 'a', 'b')
  if (!first || !second) return expect.fail('two messages were sent')
  expect(kindsOf(accounts)).toEqual([])
  second.mayPrecede = [first.id]
  expect(kindsOf(accounts)).toEqual([])
  second.mustPrecede = [first.id]
  expect(kindsOf(accounts)).toEqual(['history'])
})

test('a command that outlives its turn is explained by a kill at the end of the turn, and not by a later one', () => {
  const accounts = sound()
  accounts.chats[0]?.cuts.push(100_000)
  accounts.running.push({ id: 'process', scope: chatId })
  accounts.kills.push(150_000)
  expect(kindsOf(accounts)).toEqual(['orphan'])
  accounts.kills.push(101_000)
  expect(kindsOf(accounts)).toEqual([])
})

test('a turn without a response is explained by a call that the provider rejected, once', () => {
  const accounts = sound()
  withSecondTurn(accounts, 'a', 'b', 'c')
  const { messages } = storedOf(accounts)
  for (const number of [4, 3]) {
    messages.splice(
      messages.findIndex(({ id }) => id === `answer-${number}`),
      1,
    )
    accounts.calls.splice(number - 1, 1)
  }
  const ofResponses = () => offencesOf(accounts as Accounts).filter(({ kind }) => kind === 'missing')
  accounts.rejections.push('chat-0', 'chat-1')
  expect(ofResponses().length).toBeGreaterThan(0)
  accounts.rejections.push('chat-0')
  expect(ofResponses()).toEqual([])
})

test.each(faults)('an offence of kind %s is found: %s', (kind, _, spoil) => {
  const accounts = sound()
  spoil(accounts)
  expect(kindsOf(accounts)).toContain(kind)
})

test('calls that a strike or a broken response explains are no offence', () => {
  const accounts = sound()
  const first = callOf(accounts, 0)
  accounts.calls.push({ ...first, isCut: true, at: 10 }, { ...first, at: 20 })
  accounts.strikes.push(15)
  expect(kindsOf(accounts)).toEqual([])
})
