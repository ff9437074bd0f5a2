/**
 * Chats: conversations with a model that run on the server. A message is a list of parts; the parts of a response
 * stream to watchers before the message is stored. Callers make the ids of chats and of user's messages, so a lost
 * response costs a repeat.
 */
import { z } from 'zod'
import { utf8Bytes } from '../values/text.js'
import { slug, text, uuid } from './fields.js'
import { adminLimits, chatLimits as limits } from './limits.js'

/** The states of a chat: at rest, a turn runs, a turn is being interrupted, the last turn failed. */
export const chatStatuses = ['waiting', 'running', 'interrupting', 'error'] as const
/** One of {@link chatStatuses}. */
export type ChatStatus = (typeof chatStatuses)[number]

/** The authors of messages. */
export const messageRoles = ['user', 'assistant', 'tool', 'system'] as const
/** One of {@link messageRoles}. */
export type MessageRole = (typeof messageRoles)[number]

/** The APIs that a chat's model is called by. */
export const chatApis = ['anthropic-messages', 'openai-responses', 'openai-chat'] as const
/** One of {@link chatApis}. */
export type ChatApi = (typeof chatApis)[number]

/** Text of a user or a model. */
export const textPart = z.object({ type: z.literal('text'), text: text(limits.maxMessageBytes) })

/** Lines of a file that a user refers to: 1-based, both ends included. The model gets a labelled block. */
export const fileReferencePart = z
  .object({
    type: z.literal('file-reference'),
    name: text(limits.maxFileNameLength).min(1),
    startLine: z.int().min(1).max(limits.maxLine),
    endLine: z.int().min(1).max(limits.maxLine),
    content: text(limits.maxMessageBytes),
  })
  .refine(({ startLine, endLine }) => startLine <= endLine, 'endLine must not be below startLine')

/** The thoughts of a model, or a summary of them. */
export interface ReasoningPart {
  type: 'reasoning'
  text: string
}

/** A call of a tool by the model; `input` is the model's JSON text, which may be cut short. */
export interface ToolCallPart {
  type: 'tool-call'
  toolCallId: string
  toolName: string
  input: string
}

/** The result of a tool call. `cancelled`: the call was not made, or its end was not waited for. */
export interface ToolResultPart {
  type: 'tool-result'
  toolCallId: string
  toolName: string
  output: string
  isError: boolean
  cancelled?: true
}

/** A page that the model has cited. */
export interface SourcePart {
  type: 'source'
  url: string
  title?: string
}

/** Text of a user or a model. */
export type TextPart = z.output<typeof textPart>
/** Lines of a file. */
export type FileReferencePart = z.output<typeof fileReferencePart>
/** A part of a user's message. */
export type UserPart = TextPart | FileReferencePart
/** A part of any message, as it leaves the server. */
export type ChatPart = UserPart | ReasoningPart | ToolCallPart | ToolResultPart | SourcePart

/** The parts of a user's message: at most `maxParts`, with 1 MiB of JSON text together. */
export const userParts = z
  .array(z.discriminatedUnion('type', [textPart, fileReferencePart]))
  .min(1)
  .max(limits.maxParts)
  .refine(
    parts => utf8Bytes(JSON.stringify(parts)) <= limits.maxMessageBytes,
    `must have at most ${limits.maxMessageBytes} bytes as JSON text`,
  )

const message = { id: uuid, parts: userParts }

/**
 * Creates a chat. A repeat with the same id and content returns the chat; other content is `CONFLICT`.
 * - `provider` the name of a configured provider; `api` the default is the provider's first: Messages or Responses
 * - `agent` id or name of a workspace agent of the user, on which the model's commands run; absent: no commands
 * - `cwd` directory of commands, absolute or below the agent's own directory
 * - `message` the first message, for which a turn begins at once
 */
export const chatsCreateInput = z.object({
  id: uuid,
  provider: slug,
  model: text(limits.maxModelLength).min(1),
  api: z.enum(chatApis).optional(),
  agent: text(limits.maxAgentNameLength).min(1).optional(),
  title: text(limits.maxTitleLength).optional(),
  system: text(limits.maxSystemBytes)
    .refine(value => utf8Bytes(value) <= limits.maxSystemBytes, `must have at most ${limits.maxSystemBytes} bytes`)
    .optional(),
  cwd: text(limits.maxCwdLength).min(1).optional(),
  message: z.object(message).optional(),
})

/** Sends a message. `whenBusy` says whether a running turn is interrupted for it; default: it waits in the queue. */
export const chatsSendInput = z.object({
  chatId: uuid,
  ...message,
  whenBusy: z.enum(['queue', 'interrupt']).optional(),
})

/**
 * Replaces a user's message: the message and all later ones are deleted, the queue is emptied, and a turn begins with
 * the new message. `messageId` names the old message, `id` the new one.
 */
export const chatsEditInput = z.object({ chatId: uuid, messageId: uuid, ...message })

/** Ends a running turn within 5 s; with `clearQueue` the queue is emptied too. */
export const chatsInterruptInput = z.object({ chatId: uuid, clearQueue: z.boolean().optional() })

/** Names a message of the queue. */
export const chatsQueuedInput = z.object({ chatId: uuid, id: uuid })

/** Names a chat. */
export const chatInput = z.object({ chatId: uuid })

/** Archives a chat that is at rest, or takes it back. */
export const chatsArchiveInput = z.object({ chatId: uuid, archived: z.boolean() })

/** Lists chats, the newest change first. `user`: an admin's filter by name or id; a user sees the own chats only. */
export const chatsListInput = z
  .object({
    limit: z.int().min(1).max(adminLimits.maxPageSize).optional(),
    cursor: z.string().max(limits.maxCursorLength).optional(),
    archived: z.boolean().optional(),
    user: text(adminLimits.maxUsernameLength).optional(),
  })
  .optional()

/** Reads messages in order, behind the message `after`; a page has at most `limit` messages and 2 MiB. */
export const chatsMessagesInput = z.object({
  chatId: uuid,
  after: z.int().min(0).max(limits.maxSeq).optional(),
  limit: z.int().min(1).max(adminLimits.maxPageSize).optional(),
})

/** Watches a chat, behind an event that the caller has seen. Absent: from the first message. */
export const chatsWatchInput = z.object({
  chatId: uuid,
  lastEventId: z.string().max(limits.maxCursorLength).optional(),
})

/** A checked input of `create`. */
export type CreateChat = z.output<typeof chatsCreateInput>
/** A checked input of `send`. */
export type SendMessage = z.output<typeof chatsSendInput>
/** A checked input of `edit`. */
export type EditMessage = z.output<typeof chatsEditInput>

/**
 * The failure of a turn.
 * - `reason` one of {@link chatErrorReasons}
 * - `message` the provider's own message where there is one
 * - `status` the HTTP status of the provider's response
 * - `retryAt` the earliest time at which another try may succeed, where the provider names one
 */
export interface ChatError {
  reason: ChatErrorReason
  message: string
  status?: number
  retryAt?: Date
}

/** Reason → meaning of a turn's failure. */
export const chatErrorReasons = {
  too_many_steps: 'the turn had as many calls of the model as a turn may have',
  too_many_attempts: 'the model was called again and again, without a whole response',
  rate_limited: 'the provider takes no requests now, for longer than a turn waits',
  billing: 'the provider was not paid',
  rejected: 'the provider rejected the request',
  context_too_long: 'the conversation is longer than the model takes',
  not_allowed: 'the user, or the key of the chats, may not use the gateway any more',
  unknown_provider: 'the provider does not exist any more, or is disabled',
  too_long: 'the chat has as many messages, or as many bytes, as a chat may have',
  internal: 'the server failed; the cause is in its log',
} as const
/** One of {@link chatErrorReasons}. */
export type ChatErrorReason = keyof typeof chatErrorReasons

/** A wait before the next attempt. `attempt`: the number of the attempt that failed. */
export interface ChatRetry {
  attempt: number
  at: Date
  reason: string
  message: string
}

/** Tokens of one response, as the bridge counts them: `inputTokens` excludes cache reads and cache writes. */
export interface ChatUsage {
  inputTokens: number
  outputTokens: number
  cacheReadInputTokens: number
  cacheWriteInputTokens: number
}

/** The reasons for which a response of the model ends. */
export const finishReasons = ['end', 'tool_calls', 'max_tokens', 'refusal'] as const
/** One of {@link finishReasons}. */
export type FinishReason = (typeof finishReasons)[number]

/** A stored message. Sequence numbers begin at 1 and have gaps where messages were deleted. */
export interface ChatMessage {
  id: string
  seq: number
  role: MessageRole
  parts: ChatPart[]
  createdAt: Date
  /** of a response */
  usage: ChatUsage | null
  interceptionId: string | null
  finishReason: FinishReason | null
  /** the response was cut by an interrupt */
  interrupted: boolean
}

/** A message that waits for the running turn. */
export interface QueuedMessage {
  id: string
  parts: ChatPart[]
  createdAt: Date
}

/** A chat without its messages. */
export interface Chat {
  id: string
  ownerId: string
  /** null if the user is unknown now */
  username: string | null
  agentId: string | null
  provider: string
  model: string
  api: ChatApi
  title: string | null
  system: string | null
  cwd: string | null
  status: ChatStatus
  archived: boolean
  /** rises with every change */
  version: number
  /** the version of the last change of the history */
  historyVersion: number
  attempt: number
  retry: ChatRetry | null
  lastError: ChatError | null
  queue: QueuedMessage[]
  createdAt: Date
  updatedAt: Date
}

/** A page of chats; lists leave queues out. */
export interface ChatList {
  chats: Omit<Chat, 'queue'>[]
  nextCursor: string | null
}

/** A page of messages; `next` is the `after` of the next page, null on the last. */
export interface ChatMessages {
  messages: ChatMessage[]
  next: number | null
}

/** The place of a sent message: stored in the history as `seq`, in the queue, or taken out of the queue. */
export type SentMessage = { state: 'stored'; seq: number } | { state: 'queued' } | { state: 'dequeued' }

/**
 * An event of `chats.watch`. `watching` comes first. Parts of one attempt (`historyVersion`, `attempt`) carry `seq` 1,
 * 2, 3 …; pieces of text with the same `index` belong to the same part of the message.
 */
export type ChatEvent =
  | { kind: 'watching' }
  | { kind: 'message'; message: ChatMessage }
  | { kind: 'preview_reset'; historyVersion: number; attempt: number }
  | {
      kind: 'message_part'
      historyVersion: number
      attempt: number
      seq: number
      role: 'assistant' | 'tool'
      index: number
      part: ChatPart
    }
  /** The buffer of the attempt is full; the rest comes with the message. */
  | { kind: 'preview_cut'; historyVersion: number; attempt: number }
  /** Messages were deleted; all that are left follow. */
  | { kind: 'history_reset' }
  | { kind: 'status'; status: ChatStatus; archived: boolean; version: number }
  | { kind: 'queue_update'; queue: QueuedMessage[] }
  | { kind: 'retry'; retry: ChatRetry | null }
  | { kind: 'error'; error: ChatError | null }

/** An event of `chats.watchAll`: `watching` first, then each chat that is there or has changed, newest change first. */
export type ChatsEvent = { kind: 'watching' } | { kind: 'chat'; chat: Omit<Chat, 'queue'> }
