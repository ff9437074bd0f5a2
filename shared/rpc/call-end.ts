import type { CallType } from './messages.js'

/** A call that has ended, for statistics. Server and client report the same fields. */
export interface CallEnd {
  type: CallType
  /** as the caller named it: the router need not have such a procedure */
  path: string
  /**
   * The code of the call's error, `unknown` where a server's error has none. Undefined for a success, and for a
   * subscription that its source or its caller ended.
   */
  code: string | undefined
  /**
   * On the server from the arrival of the call, and 0 for a call that was not started; on the client from the call to
   * its end, the wait for a connection included.
   */
  durationMs: number
}
