/** The two ways of messages to a server: streamable HTTP and WebSocket. */
import type { AcpMessage, AcpRequest, AcpResponse } from '../../shared/acp/messages.js'
import type { RpcError } from '../../shared/rpc/errors.js'

/** The connection above a transport. All functions are called asynchronously. */
export interface TransportOwner {
  /**
   * Takes a checked message of the server.
   * @param sessionId the session on whose stream it came
   */
  onMessage(message: AcpMessage, bytes: number, sessionId?: string): void
  /** Called for a message that the server has not taken, or perhaps not. */
  onUndelivered(message: AcpMessage, error: RpcError<string>): void
  /** Called when nothing is received for a session any more; messages that were sent for it may have run. */
  onSessionFailed(sessionId: string, error: RpcError<string>): void
  onDrain(): void
  /** Called once, when nothing can be sent or received any more. */
  onFailure(error: RpcError<string>): void
}

/** A way to a server, for one connection. */
export interface Transport {
  /**
   * Begins the connection, and returns the agent's response; streams are open then.
   * @throws RpcError with code, reason and cause; the connection is none then
   */
  initialize(request: AcpRequest): Promise<AcpResponse>
  /**
   * Sends a message, in the order of the calls for each session.
   * @param sessionId of the session that the message belongs to
   * @param orderedWith the session whose earlier messages this one must not overtake; default: its own
   * @throws RpcError as {@link Duplex.send}
   */
  send(message: AcpMessage, sessionId: string | undefined, orderedWith?: string): void
  /** Begins to receive the messages of a session that the agent has made. */
  openSession(sessionId: string): void
  /** Ends the stream of a session that the agent has closed. */
  closeSession(sessionId: string): void
  /** bytes that the server has not taken */
  readonly bufferedBytes: number
  readonly full: boolean
  pauseReading(): void
  resumeReading(): void
  /**
   * Ends the connection: messages under way are finished first if `flushes`. Nothing is opened afterwards. Resolves
   * when sockets, streams and timers are gone.
   */
  close(end: { flushes: boolean; code: number; message: string }): Promise<void>
}
