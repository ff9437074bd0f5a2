import { hash } from 'node:crypto'
import type { z } from 'zod'
import type {
  ConversationPage,
  keepTurnInput,
  openConversationInput,
  PinToolsOutput,
  pinToolsInput,
} from '../../../shared/contract/conversations.js'
import { rpcError } from '../../../shared/contract/error-reasons.js'
import { conversationLimits as limits } from '../../../shared/contract/limits.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { jsonShape } from '../../../shared/rpc/json/json-shape.js'
import type { ConversationPlace, ConversationStore, StoredJson } from '../../store/store.js'
import { unknownRow } from '../unknown-row.js'

/**
 * Conversations with injected tools. A user who does not exist or is deleted has none, and gets none: `NOT_FOUND`
 * (unknown_row).
 */
export interface Conversations {
  /** Returns the pinned tools and the turns, page by page; nothing for an unknown conversation. */
  open(input: z.output<typeof openConversationInput>): Promise<ConversationPage>
  /**
   * Pins the tools of a conversation. The first caller wins, unless a later one replaces them, and every caller gets
   * those that are pinned.
   * @throws RpcError `BAD_REQUEST` for a list above `maxToolsBytes` or `maxToolsContainers`
   */
  pin(input: z.output<typeof pinToolsInput>): Promise<PinToolsOutput>
  /**
   * Keeps a turn behind the others, the oldest of which go if they are too many; a repeat with the same id changes
   * nothing.
   * @throws RpcError `PRECONDITION_FAILED` (conversation_full) if the turn is too large;
   *   `CONFLICT` (content_differs) if the id was used for another turn of the conversation
   */
  keep(input: z.output<typeof keepTurnInput>): Promise<Record<string, never>>
}

/** Settings of {@link createConversations}. */
export interface ConversationsOptions {
  store: ConversationStore
  now?: () => Date
}

/** Creates {@link Conversations}. */
export function createConversations({ store, now = () => new Date() }: ConversationsOptions): Conversations {
  return {
    async open({ userId, key, after }) {
      const at = now()
      const page = await store.openConversation(placeOf(userId, key), {
        after,
        maxBytes: limits.maxPageBytes,
        maxContainers: limits.maxPageContainers,
        at,
        notedBefore: new Date(at.getTime() - limits.usedNoteMs),
      })
      if (!page) throw unknownRow('user', userId)
      return {
        tools: page.tools === null ? null : JSON.parse(page.tools),
        turns: page.turns.map(turn => JSON.parse(turn)),
        next: page.next,
      }
    },

    async pin({ userId, key, tools, replaces = false }) {
      const stored = storedJson(tools)
      const problem = sizeProblem(stored, { bytes: limits.maxToolsBytes, containers: limits.maxToolsContainers })
      if (problem) throw new RpcError('BAD_REQUEST', `tools: ${problem}`)
      const pinned = await store.pinTools(placeOf(userId, key), stored, now(), replaces)
      if (pinned === null) throw unknownRow('user', userId)
      return { tools: pinned === stored.text ? tools : JSON.parse(pinned) }
    },

    async keep({ userId, key, id, turn }) {
      const stored = storedJson(turn)
      const problem = sizeProblem(stored, { bytes: limits.maxTurnBytes, containers: limits.maxTurnContainers })
      if (problem) throw rpcError('conversation_full', `turn: ${problem}`)
      const sums = { maxTurns: limits.maxTurns, maxBytes: limits.maxTurnsBytes }
      switch (await store.keepTurn(placeOf(userId, key), { id, ...stored }, sums, now())) {
        case 'kept':
          return {}
        case 'differs':
          throw rpcError('content_differs', `turn ${id} is kept already, with other content`)
        case null:
          throw unknownRow('user', userId)
      }
    },
  }
}

function placeOf(userId: string, key: string): ConversationPlace {
  return { userId, key: Buffer.from(key, 'hex') }
}

function storedJson(value: object): StoredJson {
  const text = JSON.stringify(value)
  return {
    text,
    bytes: Buffer.byteLength(text),
    containers: jsonShape(text).containers,
    contentHash: hash('sha256', text, 'buffer'),
  }
}

function sizeProblem(
  { bytes, containers }: StoredJson,
  most: { bytes: number; containers: number },
): string | undefined {
  if (bytes > most.bytes) return `${number(bytes)} bytes are more than ${number(most.bytes)}`
  if (containers > most.containers) {
    return `${number(containers)} objects and arrays are more than ${number(most.containers)}`
  }
  return undefined
}

function number(value: number): string {
  return value.toLocaleString('en')
}
