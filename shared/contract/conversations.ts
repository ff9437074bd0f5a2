/**
 * Conversations in which bridges run tools: the tools that the first request had, and the calls that the client has not
 * seen. Every bridge reads them, so that a conversation looks the same to the model whichever bridge carries it. They
 * are content and are never logged.
 */
import { z } from 'zod'
import { isPlainObject, type JsonObject } from '../values/text.js'
import { name, slug, uuid } from './fields.js'
import { conversationLimits as limits, recordLimits } from './limits.js'

/** A JSON object, taken as it is: a model's signature covers every byte. */
const jsonObject = z.custom<JsonObject>(
  value => isPlainObject(value) && isJson(value, 1),
  `must be a JSON object of at most ${limits.maxDepth} levels`,
)

function isJson(value: unknown, depth: number): boolean {
  if (typeof value === 'number') return Number.isFinite(value)
  if (typeof value !== 'object') return typeof value === 'string' || typeof value === 'boolean'
  if (value === null) return true
  if (depth > limits.maxDepth) return false
  if (Array.isArray(value)) return value.every(item => isJson(item, depth + 1))
  return isPlainObject(value) && Object.values(value).every(field => isJson(field, depth + 1))
}

/** A conversation of a user, by 64 digits: the SHA-256 of facts that all requests of the conversation share. */
const place = {
  userId: uuid,
  key: z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 digits of [0-9a-f]'),
}

/** A tool as the model sees it, for the life of a conversation. */
export const pinnedTool = z.object({
  /** the name that the model sees */
  fullName: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be 1 to 64 characters of [A-Za-z0-9_-]'),
  /** the name on the server */
  bareName: z.string().min(1).max(limits.maxBareNameLength),
  serverId: slug,
  serverUrl: z.string().max(recordLimits.maxUrlLength),
  description: z.string().max(limits.maxDescriptionLength),
  inputSchema: jsonObject,
})

/** A tool as the model sees it. */
export type PinnedTool = z.output<typeof pinnedTool>

/** The calls of one turn of the model that the client has not seen. The shape of the rounds belongs to the AI API. */
export const hiddenTurn = z.object({
  api: name,
  /** of the visible parts of the turn, by which the turn is found in a client's history */
  anchors: z.array(z.string().max(limits.maxAnchorLength)).max(limits.maxAnchors),
  rounds: z.array(jsonObject).min(1).max(limits.maxRounds),
})

/** The calls of one turn of the model that the client has not seen. */
export type HiddenTurn = z.output<typeof hiddenTurn>

/** Reads a conversation, page by page: `after` is the `next` of the page before, absent for the first page. */
export const openConversationInput = z.object({
  ...place,
  after: z.int().min(0).max(limits.maxTurnNumber).optional(),
})

/** A page of a conversation. An unknown conversation has no tools and no turns. */
export interface ConversationPage {
  /** on the first page; null if none are pinned */
  tools: PinnedTool[] | null
  /** in the order in which they were kept */
  turns: HiddenTurn[]
  /** number of the last turn so far, 0 if there was no room for one; null on the last page */
  next: number | null
}

/** Pins the tools of a conversation; `replaces`: also if it has some, else those stay. */
export const pinToolsInput = z.object({
  ...place,
  tools: z.array(pinnedTool).min(1).max(limits.maxTools),
  replaces: z.boolean().optional(),
})

/** The tools that are pinned now. */
export interface PinToolsOutput {
  tools: PinnedTool[]
}

/** Keeps a turn behind the turns of its conversation. `id` makes a repeat harmless. */
export const keepTurnInput = z.object({ ...place, id: uuid, turn: hiddenTurn })
