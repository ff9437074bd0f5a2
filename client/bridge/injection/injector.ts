/** Decides which requests get tools, and prepares them: tools, hidden turns, and the calls between the rounds. */
import type { McpServerConfig, ServerConfigsOutput } from '../../../shared/contract/mcp-configurator.js'
import { smallModels } from '../../../shared/contract/provider-settings.js'
import { isInternalRequestKind, requestKindKey } from '../../../shared/contract/request-kinds.js'
import { errorCodeOf } from '../../../shared/rpc/errors.js'
import type { Logger } from '../../../shared/values/log.js'
import type { JsonObject } from '../../../shared/values/text.js'
import { type InjectedTool, injectedPrefix, type ToolResult } from '../mcp/injected-tool.js'
import type { ServerDirectory } from '../mcp/server-directory.js'
import type { ToolClient } from '../mcp/tool-client.js'
import { namedTools } from '../mcp/tool-names.js'
import type { RequestFacts, ToolCall } from '../providers/provider-api.js'
import { controlPlaneUnreachable, Rejection } from '../wire/rejection.js'
import { anthropicInjection } from './anthropic.js'
import {
  type ConversationFacts,
  type ConversationPlace,
  type ConversationPlaces,
  type Conversations,
  placesOf,
  type StoredConversation,
  threadPlace,
} from './conversations.js'
import type { HiddenCall, HiddenTurn, InjectedRequest, InjectionApi } from './injection-api.js'
import { matchesModel } from './model-patterns.js'
import { openaiChatInjection } from './openai-chat.js'
import { openaiResponsesInjection } from './openai-responses.js'
import { RanCalls } from './ran-calls.js'
import { ResultRoom } from './result-room.js'

/** The parts of a daemon that the injection uses. */
export interface InjectorParts {
  directory: ServerDirectory
  tools: ToolClient
  conversations: Conversations
  logger: Logger
}

/** A request that may get tools. */
export interface Candidate extends Omit<ConversationFacts, 'sessionId'> {
  facts: RequestFacts
  json: JsonObject
  /** the bytes of `json` */
  body: Buffer
  /** patterns of models that get no tools; undefined for the default */
  excludedModels: readonly string[] | undefined
  mayAskForUsage: boolean
}

/** A request with injected tools. */
export interface Injection {
  readonly request: InjectedRequest
  /** whether the request asks for its usage, which the client's does not: the provider may reject that */
  readonly asksForUsage: boolean
  /** Makes a request that does not ask for its usage, in place of one that the provider has rejected. */
  dropUsage(): void
  /** Runs a hidden call; a failure is a result too. Rejects only if the signal aborts. */
  run(call: HiddenCall, signal: AbortSignal): Promise<ToolResult>
  /** Stores a turn for the next request; returns undefined without a turn. @throws Rejection if the store fails */
  keep(turn: HiddenTurn | undefined, signal: AbortSignal): Promise<void> | undefined
  /** Returns a call as it is recorded. */
  recordedCall(call: ToolCall): ToolCall
}

/** Name of a route → its API with tools. */
const apis: ReadonlyMap<string, InjectionApi> = new Map(
  [anthropicInjection, openaiChatInjection, openaiResponsesInjection].map(api => [api.name, api]),
)

/** Injects tools into model requests. */
export class Injector {
  readonly #parts: InjectorParts

  constructor(parts: InjectorParts) {
    this.#parts = parts
  }

  /**
   * Returns the API with which tools may be injected into a user's request; undefined, as for all users without such
   * servers, if the request needs no further look. Nearly all requests find it without waiting. Never rejects.
   */
  apiFor(route: string, userId: string): InjectionApi | undefined | Promise<InjectionApi | undefined> {
    const api = apis.get(route)
    const known = api && this.#parts.directory.known(userId)
    if (!api || !known) return api && this.#readApiFor(api, userId)
    return mayInject(known) ? api : undefined
  }

  async #readApiFor(api: InjectionApi, userId: string): Promise<InjectionApi | undefined> {
    try {
      return mayInject(await this.#parts.directory.user(userId)) ? api : undefined
    } catch (error) {
      this.#parts.logger.warn({ err: error }, 'the MCP servers of a user could not be read; no tool is injected')
      return undefined
    }
  }

  /**
   * Prepares a request; returns undefined if it goes on as the client sent it.
   * @throws Rejection 503 if the control plane cannot be reached
   */
  async prepare(candidate: Candidate, signal: AbortSignal): Promise<Injection | undefined> {
    const { api, json, facts, userId } = candidate
    if (!api.mayInject(json)) return undefined
    const conversation = { ...candidate, sessionId: facts.sessionId }
    const places = placesOf(conversation, json)
    if (!places) return undefined
    const stored = await this.#stored(candidate, places, signal)
    if (!stored) return undefined
    const tools = stored.tools ?? []
    const open = (mayAskForUsage: boolean) =>
      api.open({ json, body: candidate.body, tools, turns: stored.turns, mayAskForUsage })
    const ran = new RanCalls(tools)
    const room = new ResultRoom()
    let request = open(candidate.mayAskForUsage)
    return {
      get request() {
        return request
      },
      get asksForUsage() {
        return request.asksForUsage ?? false
      },
      dropUsage() {
        request = open(false)
      },
      run: async (call, abort) => room.fitted(await ran.run(call, () => this.#run(userId, places, call, abort))),
      keep: (turn, abort) => {
        const thread = request.threadId?.()
        const next = thread === undefined ? undefined : threadPlace(conversation, thread)
        const isNew = next !== undefined && !places.all.some(({ key }) => key === next.key)
        return turn || isNew ? this.#keep(places, isNew ? next : undefined, { tools, turn }, abort) : undefined
      },
      recordedCall: call => ran.recorded(call),
    }
  }

  /**
   * Returns what is stored of the conversation, or the tools that are pinned for a new one; undefined for requests
   * without tools. A conversation that began without tools gets none: newer models sign their thinking over the tools.
   */
  async #stored(
    candidate: Candidate,
    places: ConversationPlaces,
    signal: AbortSignal,
  ): Promise<StoredConversation | undefined> {
    const { api, json, facts, excludedModels = smallModels } = candidate
    const isThread = api.threadOf?.(json) !== undefined
    if (isThread || api.isContinued(json)) {
      const stored = await this.#parts.conversations.find(places, signal).catch((error: unknown) => {
        throw controlPlaneUnreachable(error)
      })
      if (stored || api.isContinued(json)) return stored
    }
    if (matchesModel(excludedModels, facts.model) || isOwnRequest(facts)) return undefined
    const tools = await this.#pinned(candidate, places, signal)
    return tools.length === 0 ? undefined : { tools, turns: [] }
  }

  /** Chooses the tools of a new conversation. */
  async #pinned(
    { api, json, userId }: Candidate,
    places: ConversationPlaces,
    signal: AbortSignal,
  ): Promise<readonly InjectedTool[]> {
    const { directory, tools, conversations, logger } = this.#parts
    const own = api.clientToolNames(json)
    const { servers } = await directory.user(userId)
    const known = new Set(servers.filter(server => isKnownTo(own, server)).map(({ id }) => id))
    const offered = (await tools.listTools(userId, signal)).filter(({ serverId }) => !known.has(serverId))
    const list = namedTools(offered, own)
    if (list.length === 0) return []
    try {
      return await conversations.pin(places, list, signal)
    } catch (error) {
      if (errorCodeOf(error) !== 'BAD_REQUEST') throw controlPlaneUnreachable(error)
      logger.error({ err: error, tools: list.length }, 'tools could not be pinned; none is injected')
      return []
    }
  }

  async #run(
    userId: string,
    { all: [{ key }] }: ConversationPlaces,
    call: HiddenCall,
    signal: AbortSignal,
  ): Promise<ToolResult> {
    const { tool, arguments: input, name } = call
    if (!tool) return failure(`There is no tool named ${name}.`)
    if (!input) return failure('The arguments are not a JSON object; the tool was not called.')
    return this.#parts.tools.call({ userId, conversation: key, tool, arguments: input }, signal)
  }

  /**
   * Stores the turn where the next request may look.
   * @param thread the place of the provider's thread, if it is a new one
   */
  async #keep(
    places: ConversationPlaces,
    thread: ConversationPlace | undefined,
    { tools, turn }: { tools: readonly InjectedTool[]; turn: HiddenTurn | undefined },
    signal: AbortSignal,
  ): Promise<void> {
    const { conversations, logger } = this.#parts
    try {
      if (thread && tools.length > 0) await conversations.pin({ isShared: false, all: [thread] }, tools, signal)
      const all: ConversationPlaces['all'] = thread ? [thread, ...places.all] : places.all
      if (turn) await conversations.keep({ ...places, all }, turn, signal)
    } catch (error) {
      if (signal.aborted) throw error
      logger.error({ err: error }, 'the results of tools could not be stored')
      const message = 'the results of tools could not be stored for the next request; try again later'
      throw new Rejection(503, 'tools_unkept', message, { cause: error })
    }
  }
}

/** Returns whether requests of a user may have tools. */
function mayInject({ servers, hasConversations }: Readonly<ServerConfigsOutput>): boolean {
  return hasConversations || servers.some(({ inject }) => inject)
}

/** Returns whether a client made the request for itself, such as for a title. A sub-agent works like an agent. */
function isOwnRequest({ metadata }: RequestFacts): boolean {
  const kind = metadata?.[requestKindKey]
  return isInternalRequestKind(kind) && kind !== 'subagent' && kind !== 'workflow' && kind !== 'compaction'
}

/**
 * Returns whether a client has the tools of a server already, from the bridge's endpoint: clients put the server's name
 * before the tool's (`mcp__wiki__search`, `wiki__search`, `mcp_wiki_search`).
 */
function isKnownTo(clientTools: ReadonlySet<string>, { id }: McpServerConfig): boolean {
  const beginnings = [`mcp__${id}__`, `${id}__`, `mcp_${id}_`].flatMap(text => [text, text.replaceAll('-', '_')])
  return [...clientTools].some(
    name => !name.startsWith(injectedPrefix) && beginnings.some(beginning => name.startsWith(beginning)),
  )
}

function failure(text: string): ToolResult {
  return { isError: true, parts: [{ type: 'text', text }], error: text, durationMs: 0 }
}
