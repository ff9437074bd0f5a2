/** The responses of the procedures of chats as schemas. */
import { z } from 'zod'
import {
  type ChatErrorReason,
  chatApis,
  chatErrorReasons,
  chatStatuses,
  fileReferencePart,
  finishReasons,
  messageRoles,
  textPart,
} from '../../shared/contract/chats.js'

/** A part of a message. */
export const chatPart = z.union([
  textPart,
  fileReferencePart,
  z.object({ type: z.literal('reasoning'), text: z.string() }),
  z.object({ type: z.literal('tool-call'), toolCallId: z.string(), toolName: z.string(), input: z.string() }),
  z.object({
    type: z.literal('tool-result'),
    toolCallId: z.string(),
    toolName: z.string(),
    output: z.string(),
    isError: z.boolean(),
    cancelled: z.literal(true).exactOptional(),
  }),
  z.object({ type: z.literal('source'), url: z.string(), title: z.string().exactOptional() }),
])

const usage = z.object({
  inputTokens: z.number(),
  outputTokens: z.number(),
  cacheReadInputTokens: z.number(),
  cacheWriteInputTokens: z.number(),
})

const message = z.object({
  id: z.string(),
  seq: z.number(),
  role: z.enum(messageRoles),
  parts: z.array(chatPart),
  createdAt: z.date(),
  usage: usage.nullable(),
  interceptionId: z.string().nullable(),
  finishReason: z.enum(finishReasons).nullable(),
  interrupted: z.boolean(),
})

const queued = z.object({ id: z.string(), parts: z.array(chatPart), createdAt: z.date() })
const retry = z.object({ attempt: z.number(), at: z.date(), reason: z.string(), message: z.string() })
const error = z.object({
  reason: z.enum(Object.keys(chatErrorReasons) as ChatErrorReason[]), // the keys of that table
  message: z.string(),
  status: z.number().exactOptional(),
  retryAt: z.date().exactOptional(),
})

const listedChat = z.object({
  id: z.string(),
  ownerId: z.string(),
  username: z.string().nullable(),
  agentId: z.string().nullable(),
  provider: z.string(),
  model: z.string(),
  api: z.enum(chatApis),
  title: z.string().nullable(),
  system: z.string().nullable(),
  cwd: z.string().nullable(),
  status: z.enum(chatStatuses),
  archived: z.boolean(),
  version: z.number(),
  historyVersion: z.number(),
  attempt: z.number(),
  retry: retry.nullable(),
  lastError: error.nullable(),
  createdAt: z.date(),
  updatedAt: z.date(),
})
const chat = z.object({ ...listedChat.shape, queue: z.array(queued) })

const sent = z.union([
  z.object({ state: z.literal('stored'), seq: z.number() }),
  z.object({ state: z.literal('queued') }),
  z.object({ state: z.literal('dequeued') }),
])
const empty = z.record(z.string(), z.never())

const place = { historyVersion: z.number(), attempt: z.number() }
const watchEvent = z.union([
  z.object({ kind: z.literal('watching') }),
  z.object({ kind: z.literal('message'), message }),
  z.object({ kind: z.literal('preview_reset'), ...place }),
  z.object({
    kind: z.literal('message_part'),
    ...place,
    seq: z.number(),
    role: z.enum(['assistant', 'tool']),
    index: z.number(),
    part: chatPart,
  }),
  z.object({ kind: z.literal('preview_cut'), ...place }),
  z.object({ kind: z.literal('history_reset') }),
  z.object({ kind: z.literal('status'), status: z.enum(chatStatuses), archived: z.boolean(), version: z.number() }),
  z.object({ kind: z.literal('queue_update'), queue: z.array(queued) }),
  z.object({ kind: z.literal('retry'), retry: retry.nullable() }),
  z.object({ kind: z.literal('error'), error: error.nullable() }),
])

/** A schema for each procedure of `chats`. */
export const chatOutputs = {
  create: chat,
  send: sent,
  edit: sent,
  interrupt: empty,
  dequeue: empty,
  promote: empty,
  retry: empty,
  archive: empty,
  get: chat,
  list: z.object({ chats: z.array(listedChat), nextCursor: z.string().nullable() }),
  messages: z.object({ messages: z.array(message), next: z.number().nullable() }),
  watch: watchEvent,
  watchAll: z.union([
    z.object({ kind: z.literal('watching') }),
    z.object({ kind: z.literal('chat'), chat: listedChat }),
  ]),
}
