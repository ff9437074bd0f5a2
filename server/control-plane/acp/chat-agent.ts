/** The agent behind `/acp`: each session is a chat of the connection's user. */
import { randomUUID } from 'node:crypto'
import { v7 as uuidv7 } from 'uuid'
import { z } from 'zod'
import {
  type AcpId,
  type AcpMessage,
  type AcpNotification,
  type AcpRequest,
  cancelledIdOf,
  idKey,
  isRequest,
  isResponse,
} from '../../../shared/acp/messages.js'
import { cancelRequestMethod } from '../../../shared/acp/methods.js'
import { chatApis } from '../../../shared/contract/chats.js'
import { errorReasonOf } from '../../../shared/contract/error-reasons.js'
import { uuid } from '../../../shared/contract/fields.js'
import { chatLimits } from '../../../shared/contract/limits.js'
import { type CloseReason, closeCodes, type Duplex } from '../../../shared/rpc/duplex.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { memoryDuplexPair } from '../../../shared/rpc/links/memory-duplex.js'
import type { Logger } from '../../../shared/values/log.js'
import type { Chats } from '../../services/chats/chats.js'
import type { ChatWatch } from '../../services/chats/watch/chat-watch.js'
import { describeIssues } from '../../services/check-input.js'
import { ChatSession, TurnFailed } from './chat-session.js'
import { partsOfPrompt, promptBlocks } from './prompt-parts.js'

/** What the agent of one connection is made of. */
export interface ChatAgentOptions {
  chats: Chats
  chatWatch: ChatWatch
  userId: string
  /** the provider and the model of new sessions whose `_meta` names none */
  defaults: { provider: string; model: string }
  buildVersion: string
  logger: Logger
}

/** The numbers of JSON-RPC errors of this agent. */
const codes = {
  invalidParams: -32_602,
  methodNotFound: -32_601,
  internalError: -32_603,
  unknownSession: -32_002,
  versionRejected: -32_022,
  cancelled: -32_800,
} as const

const protocolVersion = 1

/** sessions that one connection follows at once: as many as it may read */
const maxSessions = 64

const initializeParams = z.object({ protocolVersion: z.int() })
const meta = z
  .object({
    provider: z.string().optional(),
    model: z.string().optional(),
    api: z.enum(chatApis).optional(),
    agentId: z.string().optional(),
    system: z.string().optional(),
  })
  .nullish()
const newParams = z.object({
  cwd: z.string().min(1).max(chatLimits.maxCwdLength),
  mcpServers: z.array(z.unknown()).max(0, 'chats take no MCP servers of the client').nullish(),
  _meta: meta,
})
const sessionParams = z.object({ sessionId: z.string() })
const openParams = sessionParams.extend({ mcpServers: newParams.shape.mcpServers })
const promptParams = sessionParams.extend({ prompt: promptBlocks })
const listParams = z.object({ cursor: z.string().nullish() }).nullish()

/** Makes the agent of one connection, and returns its far end and its end. A lost connection ends no turn. */
export function createChatAgent(options: ChatAgentOptions): { duplex: Duplex; close(reason: CloseReason): void } {
  const [duplex, agentEnd] = memoryDuplexPair()
  const agent = new ChatAgent(agentEnd, options)
  return { duplex, close: reason => agent.close(reason) }
}

/** An open prompt, by its request. */
interface OpenPrompt {
  sessionId: string
  messageId: string
}

class ChatAgent {
  readonly #duplex: Duplex
  readonly #options: ChatAgentOptions
  readonly #sessions = new Map<string, ChatSession>()
  readonly #prompts = new Map<string, OpenPrompt>()
  #drained: (() => void)[] = []
  #isClosed = false

  constructor(duplex: Duplex, options: ChatAgentOptions) {
    this.#duplex = duplex
    this.#options = options
    duplex.open({
      onMessage: message => this.#receive(message as AcpMessage), // checked by the server of the connection
      onDrain: () => this.#wake(),
      onClose: () => this.close({ code: closeCodes.normal, message: 'the connection has ended' }),
    })
  }

  #receive(message: AcpMessage): void {
    if (isResponse(message)) return
    if (!isRequest(message)) return void this.#notified(message).catch((error: unknown) => this.#logged(error))
    this.#respond(message).then(
      result => this.#send({ jsonrpc: '2.0', id: message.id, result }),
      (error: unknown) => this.#send({ jsonrpc: '2.0', id: message.id, error: this.#errorOf(error) }),
    )
  }

  async #notified(message: AcpNotification): Promise<void> {
    if (message.method === 'session/cancel') return this.#cancel(read(sessionParams, message.params).sessionId)
    if (message.method !== cancelRequestMethod) return
    const key = idKey(cancelledIdOf(message))
    const prompt = key === undefined ? undefined : this.#prompts.get(key)
    if (prompt) await this.#cancel(prompt.sessionId)
  }

  async #respond({ id, method, params }: AcpRequest): Promise<unknown> {
    switch (method) {
      case 'initialize':
        return this.#initialize(read(initializeParams, params))
      case 'session/new':
        return this.#new(read(newParams, params))
      case 'session/load':
        return this.#open(read(openParams, params).sessionId, true)
      case 'session/resume':
        return this.#open(read(openParams, params).sessionId, false)
      case 'session/list':
        return this.#list(read(listParams, params)?.cursor ?? undefined)
      case 'session/close':
        return this.#closeSession(read(sessionParams, params).sessionId)
      case 'session/prompt':
        return this.#prompt(id, read(promptParams, params))
      default:
        throw new AgentError(codes.methodNotFound, `this agent has no method ${JSON.stringify(method.slice(0, 100))}`)
    }
  }

  #initialize({ protocolVersion: asked }: z.output<typeof initializeParams>): unknown {
    if (asked < protocolVersion) {
      throw new AgentError(codes.versionRejected, `protocol version ${asked} is older than ${protocolVersion}`)
    }
    return {
      protocolVersion,
      agentCapabilities: {
        loadSession: true,
        promptCapabilities: { image: false, audio: false, embeddedContext: true },
        mcpCapabilities: { http: false, sse: false },
        sessionCapabilities: { list: {}, resume: {}, close: {} },
      },
      agentInfo: { name: 'aibridge', title: 'aibridge', version: this.#options.buildVersion },
      authMethods: [],
    }
  }

  async #new({ cwd, _meta }: z.output<typeof newParams>): Promise<unknown> {
    const { chats, userId, defaults } = this.#options
    const { provider = defaults.provider, model = defaults.model, api, agentId, system } = _meta ?? {}
    const agent = agentId ?? (await chats.onlyAgentOf(userId))
    const id = uuidv7()
    const optional = Object.entries({ api, agent, system }).filter(([, value]) => value !== undefined && value !== null)
    const input = { id, provider, model, ...(agent != null && { cwd }), ...Object.fromEntries(optional) }
    await chats.create(input, userId)
    await this.#follow(id, true).ready
    return { sessionId: id }
  }

  async #open(sessionId: string, withHistory: boolean): Promise<unknown> {
    const chatId = chatIdOf(sessionId)
    await this.#find(chatId)
    await this.#sessions.get(sessionId)?.close()
    await this.#follow(chatId, withHistory).ready
    return {}
  }

  async #list(cursor: string | undefined): Promise<unknown> {
    const { chats, userId } = this.#options
    const page = await chats.list({ ...(cursor !== undefined && { cursor }) }, { role: 'user', userId })
    const sessions = page.chats.map(({ id, cwd, title, updatedAt }) => ({
      sessionId: id,
      cwd: cwd ?? '/',
      ...(title !== null && { title }),
      updatedAt: updatedAt.toISOString(),
    }))
    return { sessions, ...(page.nextCursor !== null && { nextCursor: page.nextCursor }) }
  }

  /** The protocol asks for the end of a turn that runs, as `session/cancel` does. */
  async #closeSession(sessionId: string): Promise<unknown> {
    await this.#cancel(sessionId)
    const session = this.#sessions.get(sessionId)
    this.#sessions.delete(sessionId)
    await session?.close()
    return {}
  }

  async #prompt(id: AcpId, { sessionId, prompt }: z.output<typeof promptParams>): Promise<unknown> {
    const { chats, userId } = this.#options
    const chatId = chatIdOf(sessionId)
    const session = this.#sessions.get(sessionId)
    if (!session) {
      await this.#find(chatId)
      throw new AgentError(codes.unknownSession, 'this connection has not loaded the session: load or resume it first')
    }
    const messageId = randomUUID()
    const key = idKey(id) ?? ''
    this.#prompts.set(key, { sessionId, messageId })
    const ended = session.prompt(messageId)
    try {
      const { state } = await chats.send({ chatId, id: messageId, parts: partsOfPrompt(prompt) }, userId)
      if (state === 'queued') session.noteQueued(messageId)
    } catch (error) {
      session.dropPrompt(messageId)
      this.#prompts.delete(key)
      throw error
    }
    try {
      return { stopReason: await ended }
    } finally {
      this.#prompts.delete(key)
    }
  }

  /** Ends the running turn, and drops the prompts that wait. */
  async #cancel(sessionId: string): Promise<void> {
    const { chats, userId } = this.#options
    await chats.interrupt({ chatId: chatIdOf(sessionId), clearQueue: true }, userId)
    this.#sessions.get(sessionId)?.cancelWaiting()
  }

  /** @throws AgentError for a chat that is none of this user */
  async #find(chatId: string): Promise<void> {
    const { chats, userId } = this.#options
    await chats.find(chatId, { role: 'user', userId })
  }

  #follow(chatId: string, withHistory: boolean): ChatSession {
    const { chatWatch } = this.#options
    if (this.#sessions.size >= maxSessions && !this.#sessions.has(chatId)) {
      throw new AgentError(codes.internalError, `${maxSessions} sessions are open on this connection: close one first`)
    }
    const session: ChatSession = new ChatSession({
      events: signal => chatWatch.watch({ chatId }, signal),
      update: update => this.#update(chatId, update),
      onFailure: error => {
        if (this.#sessions.get(chatId) === session) this.#sessions.delete(chatId)
        this.#logged(error)
      },
      withHistory,
    })
    this.#sessions.set(chatId, session)
    return session
  }

  async #update(sessionId: string, update: object): Promise<void> {
    this.#send({ jsonrpc: '2.0', method: 'session/update', params: { sessionId, update } })
    // A client that reads slowly holds its own chats back, and nobody else's.
    while (this.#duplex.full && !this.#isClosed) await new Promise<void>(resolve => this.#drained.push(resolve))
  }

  #send(message: object): void {
    if (!this.#isClosed) this.#duplex.send(message)
  }

  #wake(): void {
    for (const resolve of this.#drained.splice(0)) resolve()
  }

  /** Ends the updates; turns go on. */
  close(reason: CloseReason): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#wake()
    for (const session of this.#sessions.values()) void session.close()
    this.#sessions.clear()
    this.#duplex.close(reason)
  }

  #logged(error: unknown): void {
    if (error instanceof AgentError || errorReasonOf(error) !== undefined) return
    this.#options.logger.warn({ err: error }, 'a session of an ACP client failed')
  }

  #errorOf(error: unknown): { code: number; message: string; data?: object } {
    if (error instanceof AgentError) return { code: error.rpcCode, message: error.message }
    const { code, message, reason } = RpcError.from(error)
    if (error instanceof TurnFailed) {
      return { code: codes.internalError, message, data: { reason, retryable: error.retryable } }
    }
    if (reason === 'unknown_chat') return { code: codes.unknownSession, message: 'no session of yours has this id' }
    if (code === 'INTERNAL_SERVER_ERROR') {
      this.#options.logger.error({ err: error }, 'a request of an ACP client failed')
      return { code: codes.internalError, message: 'the server failed; the cause is in its log' }
    }
    const isInput = code === 'BAD_REQUEST' || code === 'NOT_FOUND' || code === 'CONFLICT'
    return { code: isInput ? codes.invalidParams : codes.internalError, message, ...(reason && { data: { reason } }) }
  }
}

/** A JSON-RPC error of this agent; the message is meant for the client. */
class AgentError extends Error {
  readonly rpcCode: number

  constructor(rpcCode: number, message: string) {
    super(message)
    this.rpcCode = rpcCode
  }
}

function read<S extends z.ZodType>(schema: S, params: unknown): z.output<S> {
  const result = schema.safeParse(params)
  if (result.success) return result.data
  throw new AgentError(codes.invalidParams, describeIssues(result.error.issues, params))
}

function chatIdOf(sessionId: string): string {
  const id = uuid.safeParse(sessionId)
  if (id.success && id.data === sessionId) return sessionId
  throw new AgentError(codes.unknownSession, 'no session of yours has this id')
}
