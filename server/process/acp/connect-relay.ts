/** Carries the messages of an editor on stdio to a remote agent and back, over as many connections as it takes. */
import type { AcpClient } from '../../../client/acp/acp-client.js'
import { Backoff } from '../../../client/acp/backoff.js'
import { Waits } from '../../../client/acp/waits.js'
import { acpError } from '../../../shared/acp/errors.js'
import { acpClientTimes } from '../../../shared/acp/limits.js'
import {
  type AcpMessage,
  type AcpRequest,
  type AcpResponse,
  errorResponse,
  idKey,
  isObject,
  isRequest,
  isResponse,
  sessionIdOf,
} from '../../../shared/acp/messages.js'
import { initializeMethod } from '../../../shared/acp/methods.js'
import { now } from '../../../shared/rpc/deadlines.js'
import { type CloseReason, closeCodes, type Duplex } from '../../../shared/rpc/duplex.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import type { Logger } from '../../../shared/values/log.js'
import { type LinkOwner, RemoteLink } from './remote-link.js'
import { SessionWatch } from './session-watch.js'

/** Parts and settings of {@link ConnectRelay}. */
export interface RelayOptions {
  readonly editor: Duplex
  /** Makes a client for one connection. */
  readonly connect: () => AcpClient
  readonly logger: Logger
  readonly times?: { reconnectMinMs: number; reconnectMaxMs: number; lostAfterMs: number }
}

type State =
  /** until the response to the editor's initialize, and again while there is a connection */
  | { readonly name: 'connecting' | 'open'; readonly link: RemoteLink }
  | { readonly name: 'reconnecting'; readonly queue: AcpMessage[] }
  | { readonly name: 'over' }

const over: State = { name: 'over' }

/**
 * ```
 * connecting ──response to initialize──▶ open ──the connection is lost──▶ reconnecting ──initialize, sessions──▶ open
 *     └──it fails──▶ over                                                      └──the key is rejected──▶ over
 * any ──the editor closes, close()──▶ over
 * ```
 * Requests that were open on a lost connection fail, and say that they may have run; later ones wait for the next
 * connection, up to `lostAfterMs`.
 */
export class ConnectRelay implements LinkOwner {
  readonly #options: RelayOptions
  readonly #times: { reconnectMinMs: number; reconnectMaxMs: number; lostAfterMs: number }
  readonly #watch = new SessionWatch(response => this.#toAgent(response))
  /** requests of the editor without a response, by their ids */
  readonly #open = new Map<string, AcpRequest>()
  /** requests that a lost connection did not take */
  #untaken: AcpMessage[] = []
  readonly #waits = new Waits()
  #state: State
  /** the next connection, until its sessions are continued */
  #attaching: RemoteLink | undefined
  /** all that are not gone */
  readonly #clients = new Set<AcpClient>()
  /** params of the editor's initialize */
  #initialize: unknown
  #noteEnd: (error: RpcError<string> | undefined) => void = () => {}
  /** Resolves when every connection is gone, with the error that ended the relay; undefined: editor or `close()`. */
  readonly ended = new Promise<RpcError<string> | undefined>(resolve => {
    this.#noteEnd = resolve
  })

  constructor(options: RelayOptions) {
    this.#options = options
    this.#times = options.times ?? acpClientTimes
    this.#state = { name: 'connecting', link: this.#connect() }
    options.editor.open({
      onMessage: message => this.#fromEditor(message as AcpMessage), // the duplex checks messages
      onDrain: () => this.#link?.client.resumeReading?.(),
      onClose: reason => this.#onEditorClosed(reason),
    })
  }

  /** Ends the connection at the server. Resolves as {@link ConnectRelay.ended}. */
  async close(): Promise<void> {
    this.#end(undefined)
    await this.ended
  }

  get #link(): RemoteLink | undefined {
    return 'link' in this.#state ? this.#state.link : undefined
  }

  #connect(): RemoteLink {
    const client = this.#options.connect()
    this.#clients.add(client)
    void client.closed.then(() => this.#clients.delete(client))
    return new RemoteLink(client, this)
  }

  #fromEditor(message: AcpMessage): void {
    if (isRequest(message) && message.method === initializeMethod) this.#initialize = message.params
    if (!this.#watch.fromEditor(message)) return
    if ('queue' in this.#state) this.#state.queue.push(message)
    else this.#toAgent(message)
    // Behind the cancel: the agent knows then what the responses are for.
    const cancelled = !isResponse(message) && message.method === 'session/cancel' ? sessionIdOf(message) : undefined
    if (cancelled !== undefined) this.#watch.cancelPermissions(cancelled)
  }

  #toAgent(message: AcpMessage): void {
    const link = this.#link
    if (!link) return
    try {
      link.client.send(message)
      if (isRequest(message)) this.#open.set(String(idKey(message.id)), message)
    } catch (thrown) {
      return this.#fail(message, RpcError.from(thrown))
    }
    if (link.client.full) this.#options.editor.pauseReading?.()
  }

  /** Responds in the agent's place. */
  #fail(message: AcpMessage, error: RpcError<string>): void {
    if (isRequest(message)) this.#toEditor(errorResponse(message.id, error))
    else this.#options.logger.warn({ err: error }, 'a message of the editor was not delivered')
  }

  #toEditor(message: AcpMessage): void {
    const { editor } = this.#options
    for (const passed of this.#watch.fromAgent(message)) editor.send(passed)
    if (editor.full) this.#link?.client.pauseReading?.()
  }

  onMessage(link: RemoteLink, message: AcpMessage): void {
    if (this.#link !== link && this.#attaching !== link) return
    const isFirst = this.#state.name === 'connecting' && isResponse(message) && message.error === undefined
    if (isFirst) this.#state = { name: 'open', link }
    if (isResponse(message) && this.#takesBack(message)) return
    this.#toEditor(message)
  }

  /** Takes a request back that the server has rejected because it does not know the connection any more. */
  #takesBack({ id, error }: AcpResponse): boolean {
    const key = String(idKey(id))
    const request = this.#open.get(key)
    this.#open.delete(key)
    const { reason, mayHaveRun } = isObject(error?.data) ? error.data : {}
    const isUntaken = mayHaveRun === false && (reason === 'unknown_connection' || reason === 'wrong_replica')
    if (!request || !isUntaken || this.#state.name !== 'open') return false
    this.#untaken.push(request)
    return true
  }

  onDrain(): void {
    this.#options.editor.resumeReading?.()
  }

  onClose(link: RemoteLink, { message }: CloseReason): void {
    if (this.#link !== link) return
    const error = link.client.error ?? acpError('connection_lost', message)
    if (this.#state.name === 'connecting' || isFinal(error)) return this.#end(error)
    this.#options.logger.warn({ problem: error.message }, 'the connection to the agent is lost; connecting again')
    this.#watch.onConnectionLost()
    this.#state = { name: 'reconnecting', queue: this.#untaken.splice(0) }
    this.#options.editor.resumeReading?.()
    void this.#reconnect()
  }

  async #reconnect(): Promise<void> {
    const { reconnectMinMs, reconnectMaxMs, lostAfterMs } = this.#times
    const lostAt = now()
    const backoff = new Backoff({ reconnectMinMs, reconnectMaxMs }, Math.random)
    for (;;) {
      await this.#waits.wait(backoff.next())
      const state = this.#state
      if (state.name !== 'reconnecting') return
      const link = this.#connect()
      this.#attaching = link
      const error = await this.#attach(link)
      this.#attaching = undefined
      if (this.#state.name !== 'reconnecting') return void link.client.close()
      if (error === undefined) {
        this.#options.logger.warn({}, 'connected to the agent again')
        this.#state = { name: 'open', link }
        for (const message of state.queue) this.#toAgent(message)
        return
      }
      void link.client.close()
      if (isFinal(error) || now() - lostAt >= lostAfterMs) {
        for (const message of state.queue.splice(0)) this.#fail(message, unsent(error))
      }
      if (isFinal(error)) return this.#end(error)
      this.#options.logger.debug({ problem: error.message }, 'the agent cannot be reached')
    }
  }

  /** Initializes a connection, and goes on with the editor's sessions. Returns why that failed. */
  async #attach(link: RemoteLink): Promise<RpcError<string> | undefined> {
    try {
      const { result, error } = await link.request(initializeMethod, this.#initialize)
      if (error !== undefined) return link.client.error ?? acpError('initialize_rejected', error.message)
      const capabilities = isObject(result) && isObject(result.agentCapabilities) ? result.agentCapabilities : {}
      const ofSessions = isObject(capabilities.sessionCapabilities) ? capabilities.sessionCapabilities : {}
      for (const [sessionId, params] of this.#watch.sessions) {
        if (isObject(ofSessions.resume)) await this.#attachSession(link, 'session/resume', sessionId, params)
        else if (capabilities.loadSession === true) await this.#attachSession(link, 'session/load', sessionId, params)
      }
      return link.client.error
    } catch (thrown) {
      return RpcError.from(thrown)
    }
  }

  async #attachSession(link: RemoteLink, method: string, sessionId: string, params: unknown): Promise<void> {
    const { error } = await link.request(method, params, method === 'session/load' ? sessionId : undefined)
    // The agent says so again to the next request of the session.
    if (error !== undefined) this.#options.logger.warn({ problem: error.message }, 'a session could not be continued')
  }

  #onEditorClosed({ code, message }: CloseReason): void {
    const failed = code !== closeCodes.normal
    this.#end(failed ? new RpcError<string>('BAD_REQUEST', `the editor's stdio has closed: ${message}`) : undefined)
  }

  #end(error: RpcError<string> | undefined): void {
    if (this.#state === over) return
    this.#state = over
    this.#waits.end()
    void Promise.all([...this.#clients].map(client => client.close())).then(() => this.#noteEnd(error))
  }
}

/** Returns the error of a message that waited for a connection: the failed attempt has not sent it. */
function unsent(error: RpcError<string>): RpcError<string> {
  const { code, message, reason } = error
  return new RpcError<string>(code, message, { reason, mayHaveRun: false, cause: error })
}

function isFinal({ code }: RpcError<string>): boolean {
  return code === 'UNAUTHORIZED' || code === 'FORBIDDEN'
}
