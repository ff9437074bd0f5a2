/** A chat as its events tell it: messages, the running response, the queue. Pure. */
import type {
  ChatError,
  ChatEvent,
  ChatMessage,
  ChatPart,
  ChatRetry,
  ChatStatus,
  QueuedMessage,
} from '../../../shared/contract/chats.js'

/** A part of the running response. */
export interface LivePart {
  role: 'assistant' | 'tool'
  index: number
  part: ChatPart
}

/** Everything that a watcher knows of a chat. `status` is undefined until the first event that says it. */
export interface ChatState {
  messages: readonly ChatMessage[]
  live: readonly LivePart[]
  /** the rest of the running response comes with its message */
  isCut: boolean
  status: ChatStatus | undefined
  isArchived: boolean
  queue: readonly QueuedMessage[]
  retry: ChatRetry | null
  error: ChatError | null
}

/** A chat before the first event. */
export const emptyChat: ChatState = {
  messages: [],
  live: [],
  isCut: false,
  status: undefined,
  isArchived: false,
  queue: [],
  retry: null,
  error: null,
}

/** Returns the state after an event. A message is the truth, the parts of its response go with it. */
export function withEvent(state: ChatState, event: ChatEvent): ChatState {
  switch (event.kind) {
    case 'watching':
      return state
    case 'message':
      return {
        ...state,
        messages: withMessage(state.messages, event.message),
        live: state.live.filter(({ role }) => role !== event.message.role),
        isCut: false,
      }
    case 'preview_reset':
      return { ...state, live: [], isCut: false }
    case 'message_part':
      return { ...state, live: withPart(state.live, event) }
    case 'preview_cut':
      return { ...state, isCut: true }
    case 'history_reset':
      return { ...state, messages: [], live: [], isCut: false }
    case 'status':
      return { ...state, status: event.status, isArchived: event.archived }
    case 'queue_update':
      return { ...state, queue: event.queue }
    case 'retry':
      return { ...state, retry: event.retry }
    case 'error':
      return { ...state, error: event.error }
  }
}

function withMessage(messages: readonly ChatMessage[], message: ChatMessage): ChatMessage[] {
  return [...messages.filter(({ seq }) => seq !== message.seq), message].sort((a, b) => a.seq - b.seq)
}

/** Pieces of text with the same index are one part. */
function withPart(live: readonly LivePart[], { role, index, part }: LivePart): LivePart[] {
  const last = live.at(-1)
  if (
    last?.role === role &&
    last.index === index &&
    ((part.type === 'text' && last.part.type === 'text') ||
      (part.type === 'reasoning' && last.part.type === 'reasoning'))
  ) {
    return [...live.slice(0, -1), { role, index, part: { ...part, text: last.part.text + part.text } }]
  }
  return [...live, { role, index, part }]
}
