import type { AcpMessage } from '../../../shared/acp/messages.js'
import type { AcpEnd } from '../options.js'
import type { Route } from './pending-requests.js'

/** The client's side of a connection: the streams of HTTP, or a WebSocket. */
export interface Outlet {
  /** Sends a message of the agent, on the stream of a session or of the connection. */
  deliver(message: AcpMessage, route: Route): void
  /** Ends the stream of a session that was closed, behind its messages. */
  endSession(sessionId: string): void
  /** The agent takes messages again. */
  onAgentDrain(): void
  /**
   * Ends everything, behind the messages that were delivered or, for `cut`, without them. Calls `onGone` of the
   * connection when nothing is left.
   */
  end(end: AcpEnd, how: 'flush' | 'cut'): void
}
