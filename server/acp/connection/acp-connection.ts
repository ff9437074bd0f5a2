/**
 * One connection of a client to its agent. Knows neither HTTP nor WebSocket: an outlet carries the agent's messages to
 * the client.
 *
 * ```
 * opening ──response to initialize──▶ open ──drain()──▶ draining
 *    └───────────────┬─────────────────┴───────────────────┘
 *                 end()──▶ ending ──outlet and agent are gone──▶ ended
 * ```
 */
import type { EventEmitter } from 'node:events'
import { acpError } from '../../../shared/acp/errors.js'
import {
  type AcpMessage,
  type AcpRequest,
  type AcpResponse,
  checkMessage,
  isRequest,
} from '../../../shared/acp/messages.js'
import { initializeMethod } from '../../../shared/acp/methods.js'
import {
  type CloseReason,
  closeCodes,
  type Duplex,
  type DuplexReceiver,
  type Message,
} from '../../../shared/rpc/duplex.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import type { GroupMember, MemberObserver } from '../../rpc/connection-group.js'
import type { AcpEnd, AcpIdentity, AcpSettings, AcpTransport } from '../options.js'
import { ConnectionWaits } from './connection-waits.js'
import { endCodes } from './end-codes.js'
import type { KnownSessions } from './known-sessions.js'
import { MessageRouter } from './message-router.js'
import { type InitializeOutcome, Opening, withConnectionId } from './opening.js'
import type { Outlet } from './outlet.js'
import type { Route } from './pending-requests.js'

/** The facts of a new connection. */
export interface ConnectionFacts<I extends AcpIdentity> {
  readonly id: string
  readonly identity: I
  readonly transport: AcpTransport
  /** Called once, when the connection begins to end. */
  onEnding(): void
}

type Phase = 'opening' | 'open' | 'draining' | 'ending' | 'ended'

export class AcpConnection<I extends AcpIdentity = AcpIdentity> implements DuplexReceiver, GroupMember {
  readonly id: string
  readonly identity: I
  readonly transport: AcpTransport
  readonly #facts: ConnectionFacts<I>
  readonly #settings: AcpSettings<I>
  readonly #lifetime = new AbortController()
  readonly #router: MessageRouter<I>
  #phase: Phase = 'opening'
  #outlet: Outlet | undefined
  #agent: Duplex | undefined
  /** until `initialize` has its outcome */
  #opening: Opening | undefined
  readonly #drainWaiters = new Set<() => void>()
  readonly #waits = new ConnectionWaits()
  #closeReason: CloseReason = { code: closeCodes.normal, message: '' }

  constructor(facts: ConnectionFacts<I>, settings: AcpSettings<I>) {
    this.id = facts.id
    this.identity = facts.identity
    this.transport = facts.transport
    this.#facts = facts
    this.#settings = settings
    this.#router = new MessageRouter<I>(this, settings)
  }

  /** the sessions that the connection has seen */
  get sessions(): KnownSessions {
    return this.#router.sessions
  }

  /** Aborts when the connection begins to end. */
  get signal(): AbortSignal {
    return this.#lifetime.signal
  }

  get isOver(): boolean {
    return this.#phase === 'ending' || this.#phase === 'ended'
  }

  /** Whether the agent takes no further message now. */
  get isAgentFull(): boolean {
    return this.#agent?.full ?? false
  }

  set outlet(outlet: Outlet) {
    this.#outlet = outlet
  }

  /**
   * Makes the agent, sends `initialize` to it and reports the outcome, once. The connection is over after a failure;
   * after an error of the agent its owner ends it.
   */
  async initialize(message: AcpRequest, outcome: InitializeOutcome): Promise<void> {
    this.#opening = new Opening(outcome, this.#settings.times.initializeTimeoutMs, error => this.#failInitialize(error))
    this.#router.fromClient(message, undefined)
    let agent: Duplex
    try {
      const { id, identity, transport, signal } = this
      agent = await this.#settings.agent({ connectionId: id, identity, transport, signal })
    } catch (cause) {
      // Typed errors too: their messages are not made for clients of this server.
      return this.#failInitialize(acpError('agent_failed', 'the agent could not be started', { cause }))
    }
    this.#agent = agent
    agent.open(this)
    // The client has left meanwhile, or the agent took too long.
    if (this.isOver) return agent.close(this.#closeReason)
    try {
      this.#send(agent, message)
    } catch (error) {
      this.#failInitialize(RpcError.from(error))
    }
  }

  /**
   * Takes a message of the client.
   * @param sessionId the session of a session-scoped message
   * @throws RpcError: a rejection of the message
   */
  receive(message: AcpMessage, sessionId: string | undefined): void {
    const agent = this.#agent
    if (!agent || this.isOver) throw acpError('unknown_connection', 'the connection has ended')
    if (isRequest(message)) {
      if (message.method === initializeMethod) {
        throw acpError('already_initialized', 'initialize was sent on this connection before')
      }
      if (this.#phase === 'draining') throw acpError('draining', 'the server shuts down; connect again')
    }
    if (this.#router.fromClient(message, sessionId)) this.#send(agent, message)
  }

  #send(agent: Duplex, message: AcpMessage): void {
    try {
      agent.send(message)
    } catch (error) {
      this.#router.takeBack(message)
      throw error
    }
    this.#settings.observer.messagePassed?.('agent')
  }

  /** Returns the session in which the agent awaits a response: null if it awaits none with this id. */
  sessionAwaiting(response: AcpResponse): string | undefined | null {
    return this.#router.sessionAwaiting(response)
  }

  /** Resolves when the agent may take messages, the connection is over, or `client` emits `close`. */
  async nextDrain(client: EventEmitter): Promise<void> {
    let wake = (): void => {}
    await new Promise<void>(resolve => {
      wake = resolve
      this.#drainWaiters.add(wake)
      client.once('close', wake)
    })
    this.#drainWaiters.delete(wake)
    client.off('close', wake)
  }

  /** Asks the agent for a pause. */
  hold(): void {
    this.#agent?.pauseReading?.()
    this.#settings.observer.agentHeld?.()
  }

  /** Lets the agent go on. */
  release(): void {
    this.#agent?.resumeReading?.()
  }

  onSlowReader(message: string): void {
    const { id: connectionId } = this
    this.#settings.logger.warn({ connectionId, reason: 'slow_reader' }, `a connection ends: ${message}`)
    this.end({ reason: 'slow_reader', message }, 'cut')
  }

  onMessage(value: Message): void {
    if (this.isOver || value === 'PING' || value === 'PONG') return
    let message: AcpMessage
    try {
      message = checkMessage(value)
    } catch (error) {
      return this.fail(`the agent sent no valid message: ${RpcError.from(error).message}`)
    }
    this.#router.fromAgent(message)
  }

  onInitialized(response: AcpResponse): void {
    const opening = this.#takeOpening()
    if (this.#phase === 'opening') this.#phase = 'open'
    opening?.outcome.onResponse(withConnectionId(response, this.id))
    if (response.error !== undefined) {
      this.end({ reason: 'initialize_failed', message: 'the agent rejected initialize' }, 'flush')
    }
  }

  deliver(message: AcpMessage, route: Route): void {
    this.#settings.observer.messagePassed?.('client')
    this.#outlet?.deliver(message, route)
  }

  respond(message: AcpResponse): void {
    this.#agent?.send(message)
  }

  onSessionEnded(sessionId: string): void {
    this.#outlet?.endSession(sessionId)
  }

  onResponded(): void {
    this.#reportIdle()
  }

  onDrain(): void {
    this.#wake()
    this.#outlet?.onAgentDrain()
  }

  #wake(): void {
    for (const wake of this.#drainWaiters) wake()
  }

  onClose(reason: CloseReason): void {
    this.#agent = undefined
    this.#waits.released.resolve()
    if (this.isOver) return
    if (reason.code === closeCodes.unauthorized) return this.#endWithAgent('unauthorized', reason.message)
    const isClean = reason.code === closeCodes.normal || reason.code === closeCodes.noStatus
    if (!isClean) return this.fail(`the agent ended with ${reason.code}: ${reason.message}`)
    this.#endWithAgent('agent_ended', 'the agent has ended')
  }

  /** Ends the connection of an agent that broke off or broke the protocol. */
  fail(message: string): void {
    if (this.isOver) return
    this.#settings.logger.error({ connectionId: this.id, reason: 'agent_failed' }, message)
    this.#endWithAgent('agent_failed', 'the agent has failed')
  }

  #endWithAgent(reason: 'agent_ended' | 'agent_failed' | 'unauthorized', message: string): void {
    const error = reason === 'unauthorized' ? reason : 'agent_failed'
    if (this.#opening) return this.#failInitialize(acpError(error, message))
    this.#router.rejectOpen(error, message)
    this.end({ reason, message }, 'flush')
  }

  #failInitialize(error: RpcError<string>): void {
    const opening = this.#takeOpening()
    if (!opening || this.isOver) return
    opening.outcome.onFailure(error)
    this.end({ reason: 'initialize_failed', message: error.message }, 'flush')
  }

  #takeOpening(): Opening | undefined {
    const opening = this.#opening
    this.#opening = undefined
    opening?.stop()
    return opening
  }

  /** Ends the connection and its agent. Does nothing when it is over. */
  end(end: AcpEnd, how: 'flush' | 'cut'): void {
    if (this.isOver) return
    this.#phase = 'ending'
    const { reason, message } = end
    this.#closeReason = { code: endCodes[reason], message, reason }
    this.#takeOpening()
    this.#router.clear()
    this.#lifetime.abort(new RpcError<string>('CLIENT_CLOSED_REQUEST', message, { reason }))
    this.#wake()
    this.#settings.observer.connectionEnded?.(this.transport, reason)
    this.#settings.logger.debug({ connectionId: this.id, reason }, 'a connection has ended')
    if (this.#agent) this.#agent.close(this.#closeReason)
    else this.#waits.released.resolve()
    this.#facts.onEnding()
    if (this.#outlet) this.#outlet.end(end, how)
    else this.onGone()
  }

  /** Called by the outlet when nothing of it is left. */
  onGone(): void {
    if (this.#phase !== 'ending') return
    this.#phase = 'ended'
    this.#reportIdle()
    this.#waits.memberObserver?.onMemberClosed(this)
    this.#waits.closed.resolve(this.#closeReason)
  }

  get activeCalls(): number {
    return this.#router.openRequests
  }

  /** Rejects later requests; an idle connection ends at once, another one with its last response. */
  drain(): void {
    if (this.#phase === 'opening') {
      this.#failInitialize(acpError('draining', 'the server shuts down; connect again'))
      // A connection whose client has sent nothing yet.
      return this.#endDrained()
    }
    if (this.#phase === 'open') this.#phase = 'draining'
    this.#reportIdle()
  }

  #endDrained(): void {
    this.end({ reason: 'draining', message: 'the server shuts down' }, 'flush')
  }

  #reportIdle(): void {
    if (this.#router.openRequests > 0) return
    this.#waits.idle?.()
    if (this.#phase === 'draining') this.#endDrained()
  }

  whenIdle(): Promise<void> {
    return new Promise(resolve => {
      this.#waits.idle = resolve
      this.#reportIdle()
    })
  }

  whenReleased(): Promise<void> {
    return this.#waits.released.promise
  }

  get closed(): Promise<CloseReason> {
    return this.#waits.closed.promise
  }

  abortCalls(): void {
    if (!this.isOver) this.#router.rejectOpen('draining', 'the server shuts down')
  }

  close(): void {
    this.#endDrained()
  }

  terminate(): void {
    const end: AcpEnd = { reason: 'draining', message: 'the server shuts down' }
    if (this.isOver) this.#outlet?.end(end, 'cut')
    else this.end(end, 'cut')
  }

  observeClose(observer: MemberObserver): void {
    this.#waits.memberObserver = observer
  }
}
