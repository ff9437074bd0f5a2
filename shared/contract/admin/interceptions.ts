/** Reads of recorded AI requests. */
import { z } from 'zod'
import type { JsonObject } from '../../values/text.js'
import { name, shortId, time, uuid } from '../fields.js'
import { adminLimits } from '../limits.js'
import {
  type EndedBy,
  type ErrorType,
  endedBy,
  errorTypes,
  type InterceptionKind,
  interceptionKinds,
} from '../recorder.js'
import { userRef } from './users.js'

/**
 * Newest first. `cursor` is the `nextCursor` of the page before. `excludeInternal` leaves out the requests that clients
 * make for themselves (`internalRequestKinds`).
 */
export const interceptionsListInput = z.object({
  limit: z.number().int().min(1).max(adminLimits.maxPageSize).default(adminLimits.defaultPageSize),
  cursor: z.string().max(256).optional(),
  user: userRef.optional(),
  provider: name.optional(),
  model: name.optional(),
  client: name.optional(),
  clientSessionId: name.optional(),
  errorType: z.enum(errorTypes).optional(),
  endedBy: z.enum(endedBy).optional(),
  interceptionKind: z.enum(interceptionKinds).optional(),
  from: time.optional(),
  to: time.optional(),
  excludeInternal: z.boolean().optional(),
})

/** Reads one interception with all its records: by its id, or by the short form of the id. */
export const interceptionsGetInput = z.object({
  id: z.union([uuid, shortId], "must be an interception's id, or its last 12 digits"),
})

/** One recorded AI request. Fields as in `recordInterception` and `recordInterceptionEnded`; unset fields are null. */
export interface Interception {
  id: string
  initiatorId: string
  /** the initiator's name; null for an unknown user */
  username: string | null
  apiKeyId: string
  provider: string
  providerName: string
  model: string
  startedAt: Date
  client: string | null
  userAgent: string | null
  clientSessionId: string | null
  correlatingToolCallId: string | null
  credentialKind: 'centralized' | 'byok'
  credentialHint: string | null
  metadata: JsonObject | null
  endedAt: Date | null
  errorType: ErrorType | null
  errorMessage: string | null
  /** the interception whose tool call, response or conversation this interception continues */
  parentId: string | null
  /** the first interception of that chain */
  rootId: string | null
  /** the key of the remote daemon that carried the request; null for a daemon in the control plane's process */
  daemonKeyId: string | null
  /** the daemon process that carried the request: a UUID of its own; null for a process that sent none */
  daemonInstance: string | null
  /** null for the daemon's own end, and without an end */
  endedBy: EndedBy | null
  interceptionKind: InterceptionKind
  /** of the priced records together, in nano-dollars as decimal text; null: none is priced */
  costNanos: string | null
  /** records of tokens without a price */
  unpricedRecords: number
}

/** The fields that every record of an interception has. */
export interface ChildRecord {
  id: string
  interceptionId: string
  metadata: JsonObject | null
  createdAt: Date
}

/**
 * The tokens of one response of a provider, by the way in which they are billed: `inputTokens` excludes cache reads
 * and cache writes.
 */
export interface TokenUsage extends ChildRecord {
  msgId: string
  /** the billed model; null where the interception's model was billed */
  model: string | null
  inputTokens: number
  outputTokens: number
  cacheReadInputTokens: number
  cacheWriteInputTokens: number
  /** in nano-dollars, as decimal text; null: unpriced */
  costNanos: string | null
  /** whether the counts, or the price of the day, are estimates */
  costEstimated: boolean
}

/** The prompt of a user, as sent to the model. */
export interface PromptUsage extends ChildRecord {
  msgId: string
  prompt: string
}

/**
 * A tool that the model selected. `injected`: an MCP server of the control plane offered the tool; `input` is JSON
 * text.
 */
export interface ToolUsage extends ChildRecord {
  msgId: string
  toolCallId: string | null
  itemId: string | null
  serverUrl: string | null
  tool: string
  input: string
  injected: boolean
  invocationError: string | null
}

/** A part of the reasoning that the model showed. */
export interface ModelThought extends ChildRecord {
  content: string
}

/** A page of interceptions, newest first. */
export interface InterceptionsPage {
  interceptions: Interception[]
  /** null on the last page */
  nextCursor: string | null
}

/** An interception with all its records, each list in the order of creation. */
export interface InterceptionDetail {
  interception: Interception
  /**
   * the root of the chain and its continuations, this interception included, oldest first; at most
   * `adminLimits.maxThreadLength`
   */
  thread: Interception[]
  tokenUsages: TokenUsage[]
  promptUsages: PromptUsage[]
  toolUsages: ToolUsage[]
  modelThoughts: ModelThought[]
}
