/** One chat on one connection of an ACP client: its updates, and the prompts that wait for their turns. */

import type { ChatError, ChatEvent, ChatMessage, ChatStatus } from '../../../shared/contract/chats.js'
import { rpcError } from '../../../shared/contract/error-reasons.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { AgentError, codes, TurnFailed } from './agent-errors.js'
import { type SessionUpdate, SessionUpdates } from './session-updates.js'

/** The reasons for which a turn ends, as ACP names them. */
export type StopReason = 'end_turn' | 'cancelled' | 'max_tokens' | 'max_turn_requests' | 'refusal'

/** A prompt of this connection. */
interface Prompt {
  readonly messageId: string
  /**
   * - `sent` the message was not seen yet
   * - `queued` the message was seen in the queue
   * - `running` its turn is the last one
   */
  state: 'sent' | 'queued' | 'running'
  /** the response of `send` said that the message waits */
  wasQueued: boolean
  resolve(reason: StopReason): void
  reject(error: RpcError<string>): void
}

/** What a {@link ChatSession} is made of. */
export interface ChatSessionOptions {
  /** Yields the events of the chat from its beginning, until the signal aborts. */
  events(signal: AbortSignal): AsyncIterable<{ event: ChatEvent }>
  /** Sends an update to the client. Resolves when the client may take more. */
  update(update: SessionUpdate): Promise<void>
  /** Called once, when the events have ended by a failure. */
  onFailure(error: unknown): void
  /** whether the messages that are stored now are shown */
  withHistory: boolean
}

/**
 * Follows a chat. Updates are in the order of the chat's events, and all updates of a turn come before the end of the
 * prompt that began it.
 */
export class ChatSession {
  readonly #options: ChatSessionOptions
  readonly #ended = new AbortController()
  readonly #prompts: Prompt[] = []
  readonly #updates = new SessionUpdates()
  /** the messages that this connection has sent: their client has shown them */
  readonly #own = new Set<string>()
  /** resolves when everything that was stored at the beginning has been read; rejects if the session ends before */
  readonly ready: Promise<void>
  #isReady = false
  #setReady: () => void = () => {}
  #failReady: (error: unknown) => void = () => {}
  #stopWaiting: () => void = () => {}
  #wasInterrupted = false
  #last: ChatMessage | undefined
  #status: ChatStatus | undefined
  /** the error of the turn; it may come before or behind the status that it explains */
  #error: ChatError | null = null
  readonly #followed: Promise<void>

  /** @param earlier the session of the chat that this one replaces: its updates end, and its prompts go on here */
  constructor(options: ChatSessionOptions, earlier?: ChatSession) {
    this.#options = options
    this.ready = new Promise((resolve, reject) => {
      this.#setReady = resolve
      this.#failReady = reject
    })
    // A caller that has gone awaits nothing.
    this.ready.catch(() => {})
    const before = earlier && this.#takeOver(earlier)
    this.#followed = this.#follow(before).catch((error: unknown) => {
      this.#failReady(error)
      for (const prompt of this.#prompts.splice(0)) prompt.reject(RpcError.from(error))
      if (!this.#ended.signal.aborted) options.onFailure(error)
    })
  }

  /**
   * Registers a prompt before its message is sent. Resolves with the reason for which its turn has ended.
   * @throws RpcError with a reason of `chatErrorReasons` if the turn fails
   */
  prompt(messageId: string): Promise<StopReason> {
    this.#own.add(messageId)
    return new Promise((resolve, reject) =>
      this.#prompts.push({ messageId, state: 'sent', wasQueued: false, resolve, reject }),
    )
  }

  /** Forgets a prompt whose message was not sent. */
  dropPrompt(messageId: string): void {
    const index = this.#prompts.findIndex(prompt => prompt.messageId === messageId)
    if (index >= 0) this.#prompts.splice(index, 1)
  }

  /** Notes that the message of a prompt waits for the turn that runs. */
  noteQueued(messageId: string): void {
    const prompt = this.#prompts.find(candidate => candidate.messageId === messageId)
    if (prompt) prompt.wasQueued = true
  }

  /** Ends the prompts whose messages waited when the queue was emptied. */
  cancelWaiting(): void {
    this.#cancel(({ state, wasQueued }) => state === 'queued' || (state === 'sent' && wasQueued))
  }

  /** Ends the updates and cancels prompts for this client; turns go on. Resolves when nothing is left. */
  async close(): Promise<void> {
    this.#end('the session was closed before it was loaded')
    for (const prompt of this.#prompts.splice(0)) prompt.resolve('cancelled')
    await this.#followed
  }

  #end(problem: string): void {
    this.#ended.abort()
    this.#failReady(new AgentError(codes.cancelled, problem))
    this.#stopWaiting()
  }

  /** The history is read again, with the messages of the prompts: those that were seen are in it, or in the queue. */
  #takeOver(earlier: ChatSession): Promise<void> {
    earlier.#end('the session was opened again before it was loaded')
    for (const prompt of earlier.#prompts.splice(0)) {
      if (prompt.state === 'running') prompt.state = 'queued'
      this.#prompts.push(prompt)
    }
    for (const id of earlier.#own) this.#own.add(id)
    return earlier.#followed
  }

  async #follow(before: Promise<void> | undefined): Promise<void> {
    const { signal } = this.#ended
    await before
    for await (const { event } of this.#options.events(signal)) {
      if (signal.aborted) return
      await this.#take(event)
    }
    if (!signal.aborted) throw rpcError('unknown_chat', 'the chat is gone')
  }

  async #take(event: ChatEvent): Promise<void> {
    switch (event.kind) {
      case 'message':
        return this.#message(event.message)
      case 'message_part':
        return this.#show(this.#updates.ofPart(event))
      case 'preview_reset':
        return this.#updates.reset()
      case 'error':
        this.#error = event.error
        return this.#endFailed()
      case 'queue_update': {
        const waiting = new Set(event.queue.map(({ id }) => id))
        // A message that left the queue for the history was seen there before.
        this.#cancel(({ state, messageId }) => state === 'queued' && !waiting.has(messageId))
        for (const prompt of this.#prompts) {
          if (prompt.state === 'sent' && waiting.has(prompt.messageId)) prompt.state = 'queued'
        }
        return
      }
      case 'status': {
        if (event.status === 'interrupting') this.#wasInterrupted = true
        this.#status = event.status
        if (event.status === 'waiting') this.#endTurn()
        else this.#endFailed()
        if (this.#isReady) return
        this.#isReady = true
        this.#setReady()
      }
    }
  }

  async #message(message: ChatMessage): Promise<void> {
    if (message.role === 'user') {
      // The next turn begins: the one before has ended, though the chat was not at rest in between.
      this.#endTurn()
      const prompt = this.#prompts.find(({ messageId }) => messageId === message.id)
      if (prompt) prompt.state = 'running'
      const updates = this.#updates.ofMessage(message)
      return this.#own.delete(message.id) ? undefined : this.#show(updates)
    }
    this.#last = message
    if (message.interrupted) this.#wasInterrupted = true
    return this.#show(this.#updates.ofMessage(message))
  }

  #cancel(isGone: (prompt: Prompt) => boolean): void {
    for (const prompt of this.#prompts.filter(isGone)) {
      this.dropPrompt(prompt.messageId)
      prompt.resolve('cancelled')
    }
  }

  /** History that is not wanted is read and not shown. */
  async #show(updates: readonly SessionUpdate[]): Promise<void> {
    if (!this.#isReady && !this.#options.withHistory) return
    for (const update of updates) {
      if (this.#ended.signal.aborted) return
      await new Promise<void>((resolve, reject) => {
        this.#stopWaiting = resolve
        this.#options.update(update).then(resolve, reject)
      })
    }
  }

  #endFailed(): void {
    if (this.#status === 'error' && this.#error) this.#endTurn(this.#error)
  }

  #endTurn(error?: ChatError): void {
    const index = this.#prompts.findIndex(({ state }) => state === 'running')
    const [prompt] = index < 0 ? [] : this.#prompts.splice(index, 1)
    const reason = this.#wasInterrupted ? 'cancelled' : stopReasonOf(this.#last)
    this.#wasInterrupted = false
    this.#last = undefined
    this.#error = null
    if (!prompt) return
    if (!error) prompt.resolve(reason)
    else if (error.reason === 'too_many_steps') prompt.resolve('max_turn_requests')
    else prompt.reject(new TurnFailed(error))
  }
}

/** A turn without a whole response was interrupted, though the status in between may not have been seen. */
function stopReasonOf(last: ChatMessage | undefined): StopReason {
  const isWhole = last?.role === 'assistant' && !last.parts.some(({ type }) => type === 'tool-call')
  if (!isWhole) return 'cancelled'
  const reason = last.finishReason
  return reason === 'max_tokens' || reason === 'refusal' ? reason : 'end_turn'
}
