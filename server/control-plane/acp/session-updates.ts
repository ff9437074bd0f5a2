/** The events of a chat as updates of an ACP session. */
import type { ChatEvent, ChatMessage, ChatPart } from '../../../shared/contract/chats.js'
import { cutToLength } from '../../../shared/values/text.js'

/** The `update` of a `session/update` notification. */
export type SessionUpdate = { sessionUpdate: string; [field: string]: unknown }

/** longest title of a tool call, which editors show in one line */
const maxTitleLength = 200

/**
 * Makes updates of events, so that each word and each tool call of a response is shown once, whether it came as a live
 * part or with the stored message. ACP has no way to take text back: when a response begins anew, a note says so.
 */
export class SessionUpdates {
  /** text of the running response that was shown, by kind */
  #shown = { text: '', reasoning: '' }
  /** shown text was taken back, and the note that says so waits for the response that begins anew */
  #isBroken = false
  /** tool calls and results of the step that were shown; a provider may use an id again in a later step */
  readonly #calls = new Set<string>()
  readonly #results = new Set<string>()

  /** Returns the updates of a live part. */
  ofPart({ part }: Extract<ChatEvent, { kind: 'message_part' }>): SessionUpdate[] {
    if (part.type === 'text' || part.type === 'reasoning') this.#shown[part.type] += part.text
    return this.#noted(this.#ofPart(part))
  }

  /** Forgets the shown parts: they become no message. */
  reset(): void {
    if (this.#shown.text !== '' || this.#shown.reasoning !== '') this.#isBroken = true
    this.#shown = { text: '', reasoning: '' }
    this.#calls.clear()
  }

  /** Returns the updates of a stored message, without what its live parts have shown. */
  ofMessage({ role, parts }: ChatMessage): SessionUpdate[] {
    if (role === 'user') {
      // Another turn begins: its response is no second one.
      this.#isBroken = false
      return parts.flatMap(part => this.#ofUser(part))
    }
    const rest = { ...this.#shown }
    const updates = parts.flatMap(part => {
      if (part.type !== 'text' && part.type !== 'reasoning') return this.#ofPart(part)
      const shown = rest[part.type]
      const isShown = part.text.startsWith(shown)
      const isLonger = shown.startsWith(part.text)
      rest[part.type] = isLonger ? shown.slice(part.text.length) : ''
      return this.#ofPart(
        isLonger ? { ...part, text: '' } : isShown ? { ...part, text: part.text.slice(shown.length) } : part,
      )
    })
    this.#shown = { text: '', reasoning: '' }
    if (role === 'assistant') this.#calls.clear()
    if (role === 'tool') this.#results.clear()
    return this.#noted(updates)
  }

  #noted(updates: SessionUpdate[]): SessionUpdate[] {
    if (!this.#isBroken || updates.length === 0) return updates
    this.#isBroken = false
    return [chunk('agent_message_chunk', '\n\n(The response broke off, and begins anew.)\n\n'), ...updates]
  }

  #ofUser(part: ChatPart): SessionUpdate[] {
    if (part.type === 'text') return [chunk('user_message_chunk', part.text)]
    if (part.type !== 'file-reference') return []
    const resource = { uri: part.name, text: part.content, mimeType: 'text/plain' }
    return [{ sessionUpdate: 'user_message_chunk', content: { type: 'resource', resource } }]
  }

  #ofPart(part: ChatPart): SessionUpdate[] {
    switch (part.type) {
      case 'text':
        return part.text === '' ? [] : [chunk('agent_message_chunk', part.text)]
      case 'reasoning':
        return part.text === '' ? [] : [chunk('agent_thought_chunk', part.text)]
      case 'source':
        return [chunk('agent_message_chunk', `\n[${part.title ?? part.url}](${part.url})\n`)]
      case 'tool-call': {
        if (this.#calls.has(part.toolCallId)) return []
        this.#calls.add(part.toolCallId)
        return [toolCallOf(part)]
      }
      case 'tool-result': {
        if (this.#results.has(part.toolCallId)) return []
        this.#results.add(part.toolCallId)
        const content = [{ type: 'content', content: { type: 'text', text: part.output } }]
        const status = part.isError ? 'failed' : 'completed'
        return [{ sessionUpdate: 'tool_call_update', toolCallId: part.toolCallId, status, content }]
      }
      case 'file-reference':
        return []
    }
  }
}

function chunk(sessionUpdate: string, text: string): SessionUpdate {
  return { sessionUpdate, content: { type: 'text', text } }
}

function toolCallOf({ toolCallId, toolName, input }: Extract<ChatPart, { type: 'tool-call' }>): SessionUpdate {
  const rawInput = parsed(input)
  const command: unknown = Reflect.get(Object(rawInput), 'command')
  const isCommand = toolName === 'execute' && typeof command === 'string'
  return {
    sessionUpdate: 'tool_call',
    toolCallId,
    title: cutToLength(isCommand ? command : toolName, maxTitleLength),
    kind: isCommand ? 'execute' : 'other',
    status: 'in_progress',
    ...(rawInput !== undefined && { rawInput }),
  }
}

/** The model's input, which may be cut short. */
function parsed(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}
