/** The text of a chat: each part once, whether it streams, comes with its message, or both. */
import { describe, expect, test } from 'vitest'
import { ChatPrinter } from '../../../../server/commands/chats/chat-printer.js'
import type { ChatEvent, ChatMessage, ChatPart } from '../../../../shared/contract/chats.js'

type LivePart = Extract<ChatEvent, { kind: 'message_part' }>

const text = (words: string): ChatPart => ({ type: 'text', text: words })
const thought = (words: string): ChatPart => ({ type: 'reasoning', text: words })
const call: ChatPart = { type: 'tool-call', toolCallId: 'a', toolName: 'execute', input: '{"command":"ls"}' }
const result = (toolCallId: string, output: string, more: object = {}): ChatPart => ({
  type: 'tool-result',
  toolCallId,
  toolName: 'execute',
  output,
  isError: false,
  ...more,
})
const live = (index: number, part: ChatPart, role: LivePart['role'] = 'assistant'): ChatEvent => ({
  kind: 'message_part',
  historyVersion: 1,
  attempt: 1,
  seq: 1,
  role,
  index,
  part,
})
const message = (role: ChatMessage['role'], parts: ChatPart[], interrupted = false): ChatEvent => ({
  kind: 'message',
  message: {
    id: 'm',
    seq: 1,
    role,
    parts,
    createdAt: new Date(0),
    usage: null,
    interceptionId: null,
    finishReason: null,
    interrupted,
  },
})
const reset: ChatEvent = { kind: 'preview_reset', historyVersion: 1, attempt: 2 }

function printed(events: readonly ChatEvent[], isTTY = false): string {
  const out: string[] = []
  const printer = new ChatPrinter({ isTTY, write: text => void out.push(text) })
  for (const event of events) printer.event(event)
  printer.end()
  return out.join('')
}

describe('a chat as text', () => {
  test.each<[string, ChatEvent[], string]>([
    ['a message that did not stream', [message('assistant', [text('Hi\nyou')])], 'Hi\nyou\n'],
    ['a message of the user', [message('user', [text('a\nb')])], '> a\n> b\n'],
    [
      'a file that the user refers to, by its lines',
      [message('user', [{ type: 'file-reference', name: 'a.ts', startLine: 1, endLine: 2, content: 'x\ny' }])],
      '> a.ts, lines 1 to 2\n',
    ],
    [
      'pieces of text in one line, and no word twice',
      [live(0, text('Hel')), live(0, text('lo')), message('assistant', [text('Hello')])],
      'Hello\n',
    ],
    [
      'the rest of a response whose last pieces did not come',
      [live(0, text('Hel')), message('assistant', [text('Hello'), call])],
      'Hello\n[execute] {"command":"ls"}\n',
    ],
    [
      'thoughts with a mark, and the text in a line of its own',
      [
        live(0, thought('Hm')),
        live(0, thought('…')),
        live(1, text('Yes')),
        message('assistant', [thought('Hm…'), text('Yes')]),
      ],
      '(thought) Hm…\nYes\n',
    ],
    [
      'text behind a thought that has no text to show',
      [live(1, text('Yes')), message('assistant', [text('Yes')])],
      'Yes\n',
    ],
    [
      'a call and its result, each once',
      [
        live(0, call),
        message('assistant', [call]),
        live(0, result('a', 'x\ny\n'), 'tool'),
        message('tool', [result('a', 'x\ny\n')]),
      ],
      '[execute] {"command":"ls"}\n[execute result]\n  x\n  y\n',
    ],
    [
      'results that stream in another order than that of the message',
      [
        live(1, result('b', 'two', { isError: true }), 'tool'),
        message('tool', [result('a', 'one', { cancelled: true }), result('b', 'two', { isError: true })]),
      ],
      '[execute error]\n  two\n[execute cancelled]\n  one\n',
    ],
    [
      'a response that begins anew',
      [live(0, text('No')), reset, live(0, text('Yes')), message('assistant', [text('Yes')])],
      'No\n(the response broke off)\nYes\n',
    ],
    [
      'a response that broke off for good',
      [live(0, text('No')), { ...reset, attempt: 1 }, { kind: 'error', error: { reason: 'billing', message: 'pay' } }],
      'No\n(the response broke off)\n(the turn failed: pay (billing))\n',
    ],
    ['nothing for a preview without parts', [reset, message('assistant', [text('Yes')]), reset], 'Yes\n'],
    [
      'the whole message where other words streamed',
      [live(0, text('No')), message('assistant', [text('Yes')])],
      'No\n(the message differs from the parts above)\nYes\n',
    ],
    [
      'the whole message behind pieces from its middle',
      [live(0, text('lo')), message('assistant', [text('Hello')])],
      'lo\n(the message differs from the parts above)\nHello\n',
    ],
    [
      'the whole message where more parts streamed than it has',
      [live(0, text('Yes')), live(1, call), message('assistant', [text('Yes')])],
      'Yes\n[execute] {"command":"ls"}\n(the message differs from the parts above)\nYes\n',
    ],
    ['that a response was cut', [live(0, text('Ye')), message('assistant', [text('Ye')], true)], 'Ye\n(interrupted)\n'],
    [
      'the wait for another try',
      [{ kind: 'retry', retry: { attempt: 1, at: new Date(0), reason: 'overloaded', message: 'too\u001bmuch' } }],
      '(too\\u001bmuch; next try at 1970-01-01T00:00:00.000Z)\n',
    ],
    [
      'a failed turn',
      [{ kind: 'error', error: { reason: 'billing', message: 'pay' } }],
      '(the turn failed: pay (billing))\n',
    ],
    ['an edited chat', [{ kind: 'history_reset' }], '(the chat was edited; it begins anew)\n'],
    [
      'a response whose preview is full',
      [live(0, text('a')), { kind: 'preview_cut', historyVersion: 1, attempt: 1 }, message('assistant', [text('ab')])],
      'a\n(the rest of the response comes when it is whole)\nb\n',
    ],
    [
      'no control character of a model or a command',
      [message('assistant', [text('a\u001b[2J\tb\r\nc\u202e')])],
      'a\\u001b[2J\tb\nc\\u202e\n',
    ],
  ])('a chat as text shows %s', (_what, events, expected) => {
    expect(printed(events)).toBe(expected)
  })

  test('a terminal shows thoughts and tools dimmed, and text as it is', () => {
    const events = [live(0, thought('Hm')), live(1, text('Yes')), live(2, call)]
    expect(printed(events, true)).toBe('\u001b[2mHm\u001b[22m\nYes\n\u001b[2m[execute] {"command":"ls"}\u001b[22m\n')
  })
})
