/** Streams of Anthropic Messages, made for tests of chats. */

/** A block of a response. */
export type Block =
  | { type: 'text'; pieces: string[] }
  | { type: 'thinking'; pieces: string[]; signature: string }
  | { type: 'tool_use'; id: string; name: string; input: object | string }

/** Returns a stream with blocks; the n-th event is known by {@link eventsOf}. */
export function messageStream(...blocks: Block[]): string {
  const events: object[] = [
    {
      type: 'message_start',
      message: { id: 'msg_1', role: 'assistant', usage: { input_tokens: 7, output_tokens: 1 } },
    },
  ]
  for (const [index, block] of blocks.entries()) {
    const { start, deltas } = eventsOfBlock(block)
    events.push({ type: 'content_block_start', index, content_block: start })
    for (const delta of deltas) events.push({ type: 'content_block_delta', index, delta })
    events.push({ type: 'content_block_stop', index })
  }
  const stopReason = blocks.some(({ type }) => type === 'tool_use') ? 'tool_use' : 'end_turn'
  events.push({ type: 'message_delta', delta: { stop_reason: stopReason }, usage: { output_tokens: 5 } })
  events.push({ type: 'message_stop' })
  return events.map(event => `event: ${Reflect.get(event, 'type')}\ndata: ${JSON.stringify(event)}\n\n`).join('')
}

function eventsOfBlock(block: Block): { start: object; deltas: object[] } {
  switch (block.type) {
    case 'text':
      return { start: { type: 'text', text: '' }, deltas: block.pieces.map(text => ({ type: 'text_delta', text })) }
    case 'thinking':
      return {
        start: { type: 'thinking', thinking: '', signature: '' },
        deltas: [
          ...block.pieces.map(thinking => ({ type: 'thinking_delta', thinking })),
          { type: 'signature_delta', signature: block.signature },
        ],
      }
    case 'tool_use': {
      const { id, name, input } = block
      const json = typeof input === 'string' ? input : JSON.stringify(input)
      return {
        start: { type: 'tool_use', id, name, input: {} },
        deltas: [{ type: 'input_json_delta', partial_json: json }],
      }
    }
  }
}

/** A text of the model, in pieces. */
export const say = (...pieces: string[]): Block => ({ type: 'text', pieces })

/** A call of `execute`. */
export const execute = (id: string, command: string, more: object = {}): Block => ({
  type: 'tool_use',
  id,
  name: 'execute',
  input: { command, ...more },
})
