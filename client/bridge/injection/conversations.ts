/** The conversations with injected tools, as the control plane stores them for all bridges. */
import { createHash } from 'node:crypto'
import { v7 as uuidv7 } from 'uuid'
import type { HiddenTurn, PinnedTool } from '../../../shared/contract/conversations.js'
import type { JsonObject } from '../../../shared/values/text.js'
import type { ControlPlane } from '../control-plane/control-plane.js'
import type { InjectionApi } from './injection-api.js'

/** The facts that all requests of one conversation share. */
export interface ConversationFacts {
  userId: string
  /** name of the provider */
  provider: string
  api: InjectionApi
  /** of the client, where it names one */
  sessionId: string | undefined
}

/** A conversation in the store: its user, and its key. */
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

/** The places of a conversation in the store, in the order in which they are looked up. */
export interface ConversationPlaces {
  /** whether other conversations may have the same place: a client without sessions begins two with the same words */
  isShared: boolean
  all: readonly [ConversationPlace, ...ConversationPlace[]]
}

/**
 * Returns the places of the conversation that a request belongs to: the provider's thread, else the session of the
 * client and the opening words. Either alone finds it too: clients give a resumed conversation another session, and cut
 * the beginning off. Undefined for a request without any of these.
 */
export function placesOf(facts: ConversationFacts, json: JsonObject): ConversationPlaces | undefined {
  const { api, sessionId } = facts
  const thread = api.threadOf?.(json)
  if (thread !== undefined) return { isShared: false, all: [threadPlace(facts, thread)] }
  const opening = api.openingOf(json)
  if (opening === undefined) return undefined
  const byOpening = place(facts, 'opening', '', opening)
  if (sessionId === undefined) return { isShared: true, all: [byOpening] }
  const own = place(facts, 'opening', sessionId, opening)
  return { isShared: false, all: [own, place(facts, 'session', sessionId), byOpening] }
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

  /** Reads the conversation at the first of its places where there is one. */
  async find({ all }: ConversationPlaces, signal: AbortSignal): Promise<StoredConversation | undefined> {
    for (const place of all) {
      const stored = await this.#open(place, signal)
      if (stored.tools || stored.turns.length > 0) return stored
    }
    return undefined
  }

  async #open(place: ConversationPlace, signal: AbortSignal): Promise<StoredConversation> {
    const turns: HiddenTurn[] = []
    let tools: readonly PinnedTool[] | undefined
    let after: number | undefined
    for (;;) {
      const input = after === undefined ? place : { ...place, after }
      const page = await this.#client.conversations.open.query(input, { signal })
      tools ??= page.tools ?? undefined
      turns.push(...page.turns)
      if (page.next === null || page.next <= (after ?? -1)) return { tools, turns }
      after = page.next
    }
  }

  /**
   * Pins the tools of a new conversation at all its places; returns those that its requests have from now on. Another
   * bridge may have chosen others a moment ago, which counts unless the place is shared.
   */
  async pin(
    { isShared, all: [own, ...others] }: ConversationPlaces,
    tools: readonly PinnedTool[],
    signal: AbortSignal,
  ): Promise<readonly PinnedTool[]> {
    const pin = (place: ConversationPlace, replaces: boolean) =>
      this.#client.conversations.pin.mutate({ ...place, tools: [...tools], replaces }, { signal })
    const [pinned] = await Promise.all([pin(own, isShared), ...others.map(place => pin(place, true))])
    return pinned.tools
  }

  /** Stores a turn at all places of its conversation. */
  async keep({ all }: ConversationPlaces, turn: HiddenTurn, signal: AbortSignal): Promise<void> {
    const { keep } = this.#client.conversations
    await Promise.all(all.map(place => keep.mutate({ ...place, id: uuidv7(), turn }, { signal })))
  }
}
