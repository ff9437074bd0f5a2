/** A chat as a session: every word once, updates before the end of their turn, and the reasons for which turns end. */
import { describe, expect, test } from 'vitest'
import { ChatSession } from '../../../../server/control-plane/acp/chat-session.js'
import type { SessionUpdate } from '../../../../server/control-plane/acp/session-updates.js'
import { type SyncPage, WatcherState } from '../../../../server/services/chats/watch/watcher-state.js'
import type { ChatRow } from '../../../../server/store/store.js'
import type { ChatError, ChatEvent, ChatMessage, ChatPart, QueuedMessage } from '../../../../shared/contract/chats.js'

const at = new Date(0)
let seqs = 0

function message(role: ChatMessage['role'], parts: ChatPart[], more: Partial<ChatMessage> = {}): ChatEvent {
  const base = { id: `m${++seqs}`, seq: seqs, createdAt: at, usage: null, interceptionId: null }
  return { kind: 'message', message: { ...base, role, parts, finishReason: null, interrupted: false, ...more } }
}
const text = (value: string): ChatPart => ({ type: 'text', text: value })
const user = (id: string, value = id) => message('user', [text(value)], { id })
const answer = (value: string, more: Partial<ChatMessage> = {}) =>
  message('assistant', [text(value)], { finishReason: 'end', ...more })
const status = (value: 'waiting' | 'running' | 'interrupting' | 'error'): ChatEvent => ({
  kind: 'status',
  status: value,
  archived: false,
  version: 1,
})
const piece = (value: ChatPart, seq = 1): ChatEvent => ({
  kind: 'message_part',
  historyVersion: 1,
  attempt: 1,
  seq,
  role: 'assistant',
  index: 0,
  part: value,
})
const call: ChatPart = { type: 'tool-call', toolCallId: 't', toolName: 'execute', input: '{}' }
const result: ChatPart = { type: 'tool-result', toolCallId: 't', toolName: 'execute', output: 'a', isError: false }
const reset: ChatEvent = { kind: 'preview_reset', historyVersion: 1, attempt: 2 }
const queue = (...ids: string[]): ChatEvent => ({
  kind: 'queue_update',
  queue: ids.map((id): QueuedMessage => ({ id, parts: [], createdAt: at })),
})

/** A watcher of a chat: each change of the row, with new messages, makes the events of one sync. */
function watcher() {
  const id = '019a0000-0000-7000-8000-00000000abcd'
  const rest = { ownerId: 'u', username: null, agentId: null, provider: 'demo', model: 'm', title: null, system: null }
  const idle = { cwd: null, agentInstance: null, runner: null, fence: 0, leaseUntil: null, archived: false, attempt: 0 }
  let row: ChatRow = {
    ...rest,
    ...idle,
    id,
    api: 'anthropic-messages',
    status: 'waiting',
    version: 1,
    historyVersion: 1,
    queueVersion: 1,
    retry: null,
    lastError: null,
    createdAt: at,
    updatedAt: at,
  }
  const state = new WatcherState(id, undefined)
  return (change: Partial<ChatRow>, ...messages: ChatEvent[]): ChatEvent[] => {
    row = { ...row, version: row.version + 1, ...change }
    const stored = messages.flatMap(event => (event.kind === 'message' ? [event.message] : []))
    const page: SyncPage = { row, lastSeq: seqs, wasReset: false, messages: stored, hasMore: false, queue: [] }
    return state.sync(page).map(({ event }) => event)
  }
}

/** A session over events that the test gives. */
function session({ withHistory = true } = {}) {
  const given: ChatEvent[] = []
  let wake = () => {}
  const log: (SessionUpdate | string)[] = []
  const failures: unknown[] = []
  async function* events(signal: AbortSignal) {
    signal.addEventListener('abort', () => wake())
    for (;;) {
      while (given.length > 0) {
        const event = given.shift()
        if (event) yield { event }
      }
      if (signal.aborted) return
      await new Promise<void>(resolve => {
        wake = resolve
      })
    }
  }
  const subject = new ChatSession({
    events,
    update: async update => void log.push(update),
    onFailure: error => failures.push(error),
    withHistory,
  })
  return {
    subject,
    log,
    give(...more: ChatEvent[]) {
      given.push(...more)
      wake()
    },
    /** A prompt whose end stands in the log among the updates. */
    async prompt(id: string) {
      const end = await subject.prompt(id).then(
        reason => reason,
        (error: Error) => `failed: ${error.message}`,
      )
      log.push(end)
      return end
    },
    words: () =>
      log.map(entry => {
        if (typeof entry === 'string') return entry
        return Object(entry.content).text ?? `${entry.sessionUpdate} ${entry.toolCallId}`
      }),
  }
}

describe('a session', () => {
  test('a turn shows live words once, and ends behind its updates', async () => {
    const { subject, give, prompt, words } = session()
    give({ kind: 'watching' }, status('waiting'))
    await subject.ready
    const ended = prompt('p1')
    give(
      user('p1'),
      status('running'),
      piece(text('Hel')),
      piece(text('lo'), 2),
      answer('Hello world'),
      status('waiting'),
    )
    expect(await ended).toBe('end_turn')
    expect(words()).toEqual(['Hel', 'lo', ' world', 'end_turn'])
    await subject.close()
  })

  test('a response that begins anew has a note between both', async () => {
    const { subject, give, prompt, words } = session()
    const ended = prompt('p1')
    give(user('p1'), piece(text('Hel')), reset, piece(text('Hello')), answer('Hello'), status('waiting'))
    await ended
    expect(words()).toEqual(['Hel', expect.stringContaining('begins anew'), 'Hello', 'end_turn'])
    await subject.close()
  })

  test('a response that broke off for good has no note that it begins anew, also not in the next turn', async () => {
    const { subject, give, prompt, words } = session()
    const first = prompt('p1')
    const error: ChatEvent = { kind: 'error', error: { reason: 'billing', message: 'pay first' } }
    give(user('p1'), piece(text('Hel')), { ...reset, attempt: 1 }, error, status('error'))
    expect(await first).toBe('failed: pay first')
    const second = prompt('p2')
    give(user('p2'), reset, piece(text('Yes')), answer('Yes'), status('waiting'))
    await second
    expect(words()).toEqual(['Hel', 'failed: pay first', 'Yes', 'end_turn'])
    await subject.close()
  })

  test('tool calls and their results are shown once, live or stored', async () => {
    const call: ChatPart = { type: 'tool-call', toolCallId: 't1', toolName: 'execute', input: '{"command":"ls"}' }
    const result: ChatPart = { type: 'tool-result', toolCallId: 't1', toolName: 'execute', output: 'a', isError: false }
    const { subject, give, prompt, log } = session()
    const ended = prompt('p1')
    give(user('p1'), piece(call), message('assistant', [call], { finishReason: 'tool_calls' }), piece(result))
    give(message('tool', [result]), answer('done'), status('waiting'))
    await ended
    expect(log).toEqual([
      {
        sessionUpdate: 'tool_call',
        toolCallId: 't1',
        title: 'ls',
        kind: 'execute',
        status: 'in_progress',
        rawInput: { command: 'ls' },
      },
      {
        sessionUpdate: 'tool_call_update',
        toolCallId: 't1',
        status: 'completed',
        content: [{ type: 'content', content: { type: 'text', text: 'a' } }],
      },
      { sessionUpdate: 'agent_message_chunk', content: { type: 'text', text: 'done' } },
      'end_turn',
    ])
    await subject.close()
  })

  test('tool calls of two steps with one id are both shown', async () => {
    const { subject, give, prompt, words } = session()
    const ended = prompt('p1')
    const step = [piece(call), message('assistant', [call]), piece(result), message('tool', [result])]
    give(user('p1'), ...step, ...step, answer('done'), status('waiting'))
    await ended
    const shown = ['tool_call t', 'tool_call_update t']
    expect(words()).toEqual([...shown, ...shown, 'done', 'end_turn'])
    await subject.close()
  })

  test.each([
    ['max_tokens', [answer('x', { finishReason: 'max_tokens' }), status('waiting')]],
    ['refusal', [answer('x', { finishReason: 'refusal' }), status('waiting')]],
    ['cancelled', [status('interrupting'), answer('x', { interrupted: true }), status('waiting')]],
    ['cancelled', [status('interrupting'), status('waiting')]],
    ['cancelled', [status('waiting')]],
    ['cancelled', [message('assistant', [call]), message('tool', [result]), status('waiting')]],
    ['cancelled', [user('next')]],
  ])('a turn ends as %s', async (reason, events) => {
    const { subject, give, prompt } = session()
    const ended = prompt('p1')
    give(user('p1'), status('running'), ...events)
    expect(await ended).toBe(reason)
    await subject.close()
  })

  const tooManySteps: ChatError = { reason: 'too_many_steps', message: 'm' }
  const rejected: ChatError = { reason: 'rejected', message: 'no' }

  test.each([
    ['max_turn_requests', tooManySteps],
    ['failed: no', rejected],
  ])('a turn that its watcher sees fail ends as %s', async (reason, lastError) => {
    const { subject, give, prompt } = session()
    const sync = watcher()
    const ended = prompt('p1')
    give(...sync({}), ...sync({ status: 'running' }, user('p1')), ...sync({ status: 'error', lastError }))
    expect(await ended).toBe(reason)
    await subject.close()
  })

  test('a turn that fails behind the failure of another one ends with its own error', async () => {
    const { subject, give, prompt } = session()
    const sync = watcher()
    give(...sync({ status: 'error', lastError: tooManySteps }, user('old')))
    const [first, second] = [prompt('p1'), prompt('p2')]
    give(...sync({ status: 'running', lastError: null }, user('p1')), ...sync({ status: 'error', lastError: rejected }))
    expect(await first).toBe('failed: no')
    // One sync shows the beginning and the end.
    give(...sync({ lastError: { reason: 'billing', message: 'pay' } }, user('p2')))
    expect(await second).toBe('failed: pay')
    await subject.close()
  })

  test('an error that comes before its status ends the turn', async () => {
    const { subject, give, prompt } = session()
    const ended = prompt('p1')
    give(user('p1'), status('running'), { kind: 'error', error: rejected }, status('error'))
    expect(await ended).toBe('failed: no')
    await subject.close()
  })

  test('a prompt that waits for another turn ends in its own turn', async () => {
    const { subject, give, prompt, words } = session()
    const [first, second] = [prompt('p1'), prompt('p2')]
    give(
      user('p1'),
      status('running'),
      queue('p2'),
      answer('one'),
      user('p2'),
      queue(),
      answer('two'),
      status('waiting'),
    )
    expect(await first).toBe('end_turn')
    expect(await second).toBe('end_turn')
    expect(words()).toEqual(['one', 'end_turn', 'two', 'end_turn'])
    await subject.close()
  })

  test('a prompt that is taken out of the queue is cancelled', async () => {
    const { subject, give, prompt } = session()
    const [first, second] = [prompt('p1'), prompt('p2')]
    give(user('p1'), queue('p2'), queue())
    expect(await second).toBe('cancelled')
    give(answer('one'), status('waiting'))
    expect(await first).toBe('end_turn')
    await subject.close()
  })

  test('a prompt that was never seen in the queue is cancelled with the queue', async () => {
    const { subject, prompt } = session()
    const ended = prompt('p2')
    subject.noteQueued('p2')
    subject.cancelWaiting()
    expect(await ended).toBe('cancelled')
    await subject.close()
  })

  test('a message of another client is shown, and the own one is not', async () => {
    const { subject, give, prompt, words } = session()
    const ended = prompt('p1')
    give(user('other', 'from elsewhere'), answer('yes'), user('p1'), answer('no'), status('waiting'))
    await ended
    expect(words()).toEqual(['from elsewhere', 'yes', 'no', 'end_turn'])
    await subject.close()
  })

  test('a session without history shows what comes behind the stored messages', async () => {
    const { subject, give, words, prompt } = session({ withHistory: false })
    give(user('old'), answer('old answer'), status('running'))
    await subject.ready
    const ended = prompt('p1')
    give(piece(text('live')), answer('live'), user('p1'), answer('new'), status('waiting'))
    await ended
    expect(words()).toEqual(['live', 'new', 'end_turn'])
    await subject.close()
  })

  test('a closed session cancels its prompts, and shows nothing more', async () => {
    const { subject, give, prompt, words } = session()
    const ended = prompt('p1')
    await subject.close()
    expect(await ended).toBe('cancelled')
    give(user('p1'), answer('late'))
    expect(words()).toEqual(['cancelled'])
  })
})
