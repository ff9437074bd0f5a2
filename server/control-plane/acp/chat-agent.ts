/** The agent behind `/acp`: each session is a chat of the connection's user. */
import { randomUUID } from 'node:crypto'
import { v7 as uuidv7 } from 'uuid'
import type { z } from 'zod'
import {
  type AcpId,
  type AcpMessage,
  type AcpNotification,
  type AcpRequest,
  cancelledIdOf,
  idKey,
  isRequest,
  isResponse,
  sessionIdOf,
} from '../../../shared/acp/messages.js'
import { cancelRequestMethod } from '../../../shared/acp/methods.js'
import { errorReasonOf } from '../../../shared/contract/error-reasons.js'
import { type CloseReason, closeCodes, type Duplex } from '../../../shared/rpc/duplex.js'
import { memoryDuplexPair } from '../../../shared/rpc/links/memory-duplex.js'
import type { Logger } from '../../../shared/values/log.js'
import type { Chats } from '../../services/chats/chats.js'
import type { ChatWatch } from '../../services/chats/watch/chat-watch.js'
import { AgentError, codes, isExpected, rpcErrorOf } from './agent-errors.js'
import * as params from './agent-params.js'
import { ChatSession, type StopReason } from './chat-session.js'
import { OpenSessions } from './open-sessions.js'
import { partsOfPrompt } from './prompt-parts.js'
import type { SessionUpdate } from './session-updates.js'

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

const protocolVersion = 1

/** sessions that one connection follows at once: as many as it may read */
const maxSessions = 64

/** cancels at work, each of another session, above which no further message is taken */
const maxCancels = 16

/** Makes the agent of one connection, and returns its far end and its end. A lost connection ends no turn. */
export function createChatAgent(options: ChatAgentOptions): { duplex: Duplex; close(reason: CloseReason): void } {
  const [duplex, agentEnd] = memoryDuplexPair()
  const agent = new ChatAgent(agentEnd, options)
  return { duplex, close: reason => agent.close(reason) }
}

class ChatAgent {
  readonly #duplex: Duplex
  readonly #options: ChatAgentOptions
  readonly #sessions = new OpenSessions({
    maxSessions,
    follow: (chatId, withHistory, earlier) => this.#follow(chatId, withHistory, earlier),
  })
  /** the chats of open prompts, by their requests */
  readonly #prompts = new Map<string, string>()
  #cancels = 0
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
    if (!isRequest(message)) return this.#notified(message)
    this.#respond(message).then(
      result => this.#send({ jsonrpc: '2.0', id: message.id, result }),
      (error: unknown) => {
        this.#send({ jsonrpc: '2.0', id: message.id, error: rpcErrorOf(error, this.#options.logger) })
      },
    )
  }

  /** Nobody awaits the work of a notification, so it is bounded here. */
  #notified(message: AcpNotification): void {
    const chatId = this.#chatToCancel(message)
    if (chatId === undefined) return
    const cancelled = this.#sessions.repeat(chatId, session => this.#cancel(chatId, session))
    if (!cancelled) return
    if (++this.#cancels === maxCancels) this.#duplex.pauseReading?.()
    const onSettled = () => {
      if (this.#cancels-- === maxCancels) this.#duplex.resumeReading?.()
    }
    void cancelled.catch((error: unknown) => this.#logged(error)).then(onSettled)
  }

  #chatToCancel(message: AcpNotification): string | undefined {
    if (message.method === cancelRequestMethod) return this.#prompts.get(idKey(cancelledIdOf(message)) ?? '')
    if (message.method !== 'session/cancel') return undefined
    const sessionId = sessionIdOf(message)
    return sessionId !== undefined && params.isChatId(sessionId) ? sessionId : undefined
  }

  async #respond({ id, method, params: given }: AcpRequest): Promise<unknown> {
    switch (method) {
      case 'initialize':
        return this.#initialize(params.read(params.initializeParams, given))
      case 'session/new':
        return this.#new(params.read(params.newParams, given))
      case 'session/load':
        return this.#open(params.read(params.openParams, given), true)
      case 'session/resume':
        return this.#open(params.read(params.openParams, given), false)
      case 'session/list':
        return this.#list(params.read(params.listParams, given)?.cursor ?? undefined)
      case 'session/close':
        return this.#closeSession(params.read(params.sessionParams, given).sessionId)
      case 'session/prompt':
        return this.#prompt(id, params.read(params.promptParams, given))
      default:
        throw new AgentError(codes.methodNotFound, `this agent has no method ${JSON.stringify(method.slice(0, 100))}`)
    }
  }

  #initialize({ protocolVersion: asked }: z.output<typeof params.initializeParams>): unknown {
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

  async #new({ cwd, _meta }: z.output<typeof params.newParams>): Promise<unknown> {
    const { chats, userId, defaults } = this.#options
    const { provider = defaults.provider, model = defaults.model, api, agentId, system } = _meta ?? {}
    const id = uuidv7()
    await this.#sessions.open(id, true, async () => {
      const agent = agentId ?? (await chats.onlyAgentOf(userId)) ?? undefined
      const optional = { api, agent, system, cwd: agent === undefined ? undefined : cwd }
      const set = Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined))
      await chats.create({ id, provider, model, ...set }, userId)
    })
    return { sessionId: id }
  }

  async #open({ sessionId }: z.output<typeof params.openParams>, withHistory: boolean): Promise<unknown> {
    const chatId = params.chatIdOf(sessionId)
    await this.#sessions.open(chatId, withHistory, () => this.#find(chatId))
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
    const chatId = params.chatIdOf(sessionId)
    return this.#sessions.work(chatId, async session => {
      try {
        await this.#cancel(chatId, session)
      } finally {
        if (session) this.#sessions.drop(chatId, session)
        await session?.close()
      }
      return {}
    })
  }

  async #prompt(id: AcpId, { sessionId, prompt }: z.output<typeof params.promptParams>): Promise<unknown> {
    const chatId = params.chatIdOf(sessionId)
    if (!this.#sessions.has(chatId)) {
      await this.#find(chatId)
      throw notOpen()
    }
    const key = idKey(id) ?? ''
    this.#prompts.set(key, chatId)
    try {
      const message = { chatId, id: randomUUID(), parts: partsOfPrompt(prompt) }
      const { ended } = await this.#sessions.work(chatId, session => this.#sendPrompt(session, message))
      return { stopReason: await ended }
    } finally {
      this.#prompts.delete(key)
    }
  }

  /** Sends a message; a client that has left meanwhile has sent it all the same. */
  async #sendPrompt(
    session: ChatSession | undefined,
    message: Parameters<Chats['send']>[0],
  ): Promise<{ ended: Promise<StopReason> | undefined }> {
    if (!session && !this.#isClosed) throw notOpen()
    const ended = session?.prompt(message.id)
    // The session may fail before the message is stored, and nobody awaits the end then.
    ended?.catch(() => {})
    try {
      const { state } = await this.#options.chats.send(message, this.#options.userId)
      if (state === 'queued') session?.noteQueued(message.id)
    } catch (error) {
      session?.dropPrompt(message.id)
      throw error
    }
    return { ended }
  }

  /** Ends the running turn, and drops the prompts that wait. An archived chat has neither. */
  async #cancel(chatId: string, session: ChatSession | undefined): Promise<void> {
    const { chats, userId } = this.#options
    try {
      await chats.interrupt({ chatId, clearQueue: true }, userId)
    } catch (error) {
      if (errorReasonOf(error) !== 'chat_archived') throw error
    }
    session?.cancelWaiting()
  }

  /** @throws AgentError for a chat that is none of this user */
  async #find(chatId: string): Promise<void> {
    const { chats, userId } = this.#options
    await chats.find(chatId, { role: 'user', userId })
  }

  #follow(chatId: string, withHistory: boolean, earlier: ChatSession | undefined): ChatSession {
    const { chatWatch } = this.#options
    const options = {
      events: (signal: AbortSignal) => chatWatch.watch({ chatId }, signal),
      update: (update: SessionUpdate) => this.#update(chatId, update),
      onFailure: (error: unknown) => {
        this.#sessions.drop(chatId, session)
        this.#logged(error)
      },
      withHistory,
    }
    const session = new ChatSession(options, earlier)
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
    this.#sessions.close()
    this.#duplex.close(reason)
  }

  #logged(error: unknown): void {
    if (!isExpected(error)) this.#options.logger.warn({ err: error }, 'a session of an ACP client failed')
  }
}

function notOpen(): AgentError {
  const problem = 'this connection has not loaded the session: load or resume it first'
  return new AgentError(codes.unknownSession, problem)
}
