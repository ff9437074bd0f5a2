/** The observations of a control plane. */

import type { CallEnd } from '../../shared/rpc/call-end.js'
import type { RpcError } from '../../shared/rpc/errors.js'
import type { AcpObserver } from '../acp/options.js'
import type { ConnectionGroup } from '../rpc/connection-group.js'

/**
 * The counted events of chats:
 * - `takeover` a chat was taken from another server, whose lease had ended or which did not finish an interrupt
 * - `stale_commit` a change of a run was rejected, because the run had ended
 * - `relayed_part` a live part came from another server for a watcher of this one
 * - `retry` a call of the model failed, and is tried again
 */
export type ChatCount = 'takeover' | 'stale_commit' | 'relayed_part' | 'retry'

/** Counts a control plane's observations. The functions may be called unbound, return at once and never throw. */
export interface ServerMetrics {
  /** The path is that of a procedure, or `unknown`. */
  readonly callEnded: (end: CallEnd) => void
  readonly connectionRejected: (error: RpcError<string>) => void
  /** Counts a record of tokens without a price. */
  readonly recordUnpriced: (reason: string) => void
  /** Counts interceptions that the control plane ended because their daemon was gone. */
  readonly interceptionsAbandoned: (interceptions: number) => void
  /** Counts connections of the Agent Client Protocol, their ends, held agents and messages that went nowhere. */
  readonly acp: AcpObserver
  /** Counts an event of chats. */
  readonly chatEvent: (event: ChatCount, count?: number) => void
  /** Reads the number of running chats of this server whenever the numbers are requested. */
  readonly watchChats: (running: () => number) => void
  /** Reads a group whenever the numbers are requested. */
  readonly watchGroup: (group: Pick<ConnectionGroup, 'connections' | 'calls'>) => void
  /** Reads the number of open connections to other servers whenever the numbers are requested. */
  readonly watchPeers: (peers: { readonly connections: number }) => void
  /** Takes a call to another server at its end. The path is that of a procedure. */
  readonly peerCallEnded: (end: CallEnd) => void
  /** Returns all metrics, in Prometheus' text format 0.0.4. */
  readonly text: () => Promise<string>
}
