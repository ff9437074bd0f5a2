/** The model of a chat as the runner sees it. `server/process/` gives the server one that calls AI providers. */
import type { ChatApi, ChatPart, ChatUsage, FinishReason, MessageRole } from '../../../shared/contract/chats.js'

/**
 * A part as stored. `internal` is JSON text of the provider, such as the signature of a thought: it goes back to the
 * provider, and is removed at every exit.
 */
export type StoredPart = ChatPart & { internal?: string }

/** A message of the history as the model gets it. */
export interface HistoryMessage {
  role: MessageRole
  parts: StoredPart[]
}

/** A tool that the model may call; `inputSchema` is a JSON schema. */
export interface ChatTool {
  name: string
  description: string
  inputSchema: { type: 'object'; [key: string]: unknown }
}

/** One call of the model. */
export interface ModelRequest {
  /** name of the configured provider */
  provider: string
  api: ChatApi
  model: string
  system: string | null
  messages: HistoryMessage[]
  tools: ChatTool[]
  /** id of the key on whose owner the call is recorded */
  keyId: string
  /** the session of the recorded requests */
  chatId: string
}

/**
 * A piece of a response while it streams. Pieces of text with the same `index` belong together; a call of a tool comes
 * whole.
 */
export interface LivePart {
  role: 'assistant' | 'tool'
  index: number
  part: ChatPart
}

/** A whole response. */
export interface ModelResponse {
  parts: StoredPart[]
  usage: ChatUsage | null
  finishReason: FinishReason
}

/** The observers of one call of the model. */
export interface ModelCall {
  signal: AbortSignal
  /** receives the response while it streams */
  onPart(part: LivePart): void
  /** receives the id of the interception by which the call is recorded, as soon as it is known */
  onInterception(id: string): void
}

/** Calls models. A rejected call has passed on the parts that came before. */
export interface ChatModels {
  /** @throws ModelError of `shared/contract/model-error.ts` */
  call(request: ModelRequest, call: ModelCall): Promise<ModelResponse>
}
