import type { RpcError } from '../../shared/rpc/errors.js'
import type { CallType, WireError } from '../../shared/rpc/messages.js'

/** Why a call failed: a server's error shape, still encoded by the router's transformer, or an error of this side. */
export type CallFailure =
  | {
      remote: WireError
      /** the call was sent on an earlier connection too, and may have run there, whatever this error says */
      sentBefore?: true
    }
  | { local: RpcError<string> }

/**
 * The callbacks of a call's owner: any number of `onData` for a subscription, one for another call, and then `onError`
 * or `onStopped`, once.
 */
export interface CallObserver {
  onStarted?(): void
  /**
   * `data` is still encoded by the server's transformer; `eventId` is the id of a tracked event; `bytes` is about the
   * size of the message.
   */
  onData(data: unknown, eventId?: string, bytes?: number): void
  onError(failure: CallFailure): void
  /** Called when a subscription has ended without an error. */
  onStopped?(): void
  /** Returns a server's error decoded, for statistics. The encoded error may be changed. */
  decodeError?(encoded: WireError): Error
}

/** One call. */
export interface CallOptions {
  type: CallType
  path: string
  /** encoded by the router's transformer */
  input: unknown
  /** the event after which a subscription goes on */
  lastEventId?: string | undefined
  /**
   * deadline of this call, at most 2^31 - 1; 0 and less have passed already, `Infinity` is none. Default: none for a
   * subscription, else the connection's `callTimeoutMs`
   */
  timeoutMs?: number | undefined
  signal?: AbortSignal | undefined
}
