/** What a control plane tells of its work to whoever counts. */
import type { RpcError } from '../../shared/rpc/errors.js'
import type { CallEnd } from '../rpc/connection.js'
import type { ConnectionGroup } from '../rpc/connection-group.js'

/** Takes a control plane's observations. Its functions may be called unbound, return at once and never throw. */
export interface ServerMetrics {
  /** Its path is that of a procedure, or `unknown`. */
  readonly callEnded: (end: CallEnd) => void
  readonly connectionRefused: (error: RpcError<string>) => void
  /** Reads a group whenever the numbers are asked for. */
  readonly watchGroup: (group: Pick<ConnectionGroup, 'connections' | 'calls'>) => void
  /** All metrics, in Prometheus' text format 0.0.4. */
  readonly text: () => Promise<string>
}
