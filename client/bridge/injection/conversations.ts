/** The conversations with injected tools, as the control plane stores them for all bridges. */
import { createHash } from 'node:crypto'
import { v7 as uuidv7 } from 'uuid'
import type { HiddenTurn, PinnedTool } from '../../../shared/contract/conversations.js'
import type { JsonObject } from '../../../shared/values/text.js'
import type { ControlPlane } from '../control-plane/control-plane.js'
import type { InjectionApi } from './injection-api.js'

/** What all requests of one conversation share. */
export interface ConversationFacts {
  userId: string
  /** name of the provider */
  provider: string
  api: InjectionApi
  /** of the client, where it names one */
  sessionId: string | undefined
}

/** A conversation of a user in the store: who it belongs to, and its key. */
export interface ConversationPlace {
  userId: string
  key: string
}

/** A stored conversation. */
export interface StoredConversation {
  /** undefined if none are pinned */
  tools: readonly PinnedTool[] | undefined
  /** in order of creation */
  turns: readonly HiddenTurn[]
}

/**
 * Returns the place of the conversation that a request belongs to: the provider's thread, else the session of the
 * client and the opening words. Undefined for a request without any of these.
 */
export function placeOf(facts: ConversationFacts, json: JsonObject): ConversationPlace | undefined {
  const thread = facts.api.threadOf?.(json)
  if (thread !== undefined) return threadPlace(facts, thread)
  const opening = facts.api.openingOf(json)
  if (opening === undefined) return undefined
  return place(facts, 'opening', facts.sessionId ?? '', opening)
}

/** Returns the place of the conversation that continues a thread of the provider. */
export function threadPlace(facts: ConversationFacts, thread: string): ConversationPlace {
  return place(facts, 'thread', thread)
}

function place({ userId, provider, api }: ConversationFacts, ...parts: readonly string[]): ConversationPlace {
  const text = JSON.stringify([provider, api.name, ...parts])
  return { userId, key: createHash('sha256').update(text).digest('hex') }
}

/** Reads and writes conversations. Each function throws the error of the call. */
export class Conversations {
  readonly #client: Pick<ControlPlane, 'conversations'>

  constructor(client: Pick<ControlPlane, 'conversations'>) {
    this.#client = client
  }

  /** Reads a conversation; an unknown one is empty. */
  async open(place: ConversationPlace, signal: AbortSignal): Promise<StoredConversation> {
    const turns: HiddenTurn[] = []
    let tools: readonly PinnedTool[] | undefined
    let after: number | undefined
    for (;;) {
      const input = after === undefined ? place : { ...place, after }
      const page = await this.#client.conversations.open.query(input, { signal })
      tools ??= page.tools ?? undefined
      turns.push(...page.turns)
      if (page.next === null) return { tools, turns }
      after = page.next
    }
  }

  /** Pins tools; returns those that are pinned, which an earlier caller may have chosen. */
  async pin(
    place: ConversationPlace,
    tools: readonly PinnedTool[],
    signal: AbortSignal,
  ): Promise<readonly PinnedTool[]> {
    const pinned = await this.#client.conversations.pin.mutate({ ...place, tools: [...tools] }, { signal })
    return pinned.tools
  }

  /** Stores a turn. */
  async keep(place: ConversationPlace, turn: HiddenTurn, signal: AbortSignal): Promise<void> {
    await this.#client.conversations.keep.mutate({ ...place, id: uuidv7(), turn }, { signal })
  }
}
