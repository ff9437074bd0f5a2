/** Close frames: codes and texts of a WebSocket's end, to and from close reasons (RFC 6455, sections 5.5.1 and 7.4). */
import { cutToBytes } from '../../values/text.js'
import { type CloseReason, closeCodes } from '../duplex.js'
import type { TransportReason } from '../errors.js'

/** RFC 6455, section 5.5: a control frame holds 125 bytes, two of them the code. */
const maxCloseTextBytes = 123

/**
 * Returns the code that a Close frame may carry for a reason's code; 1011 for codes that are reserved for local use or
 * undefined.
 */
export function sendableCode(code: number): number {
  const isAssigned = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014)
  const isPrivate = code >= 3000 && code <= 4999
  return Number.isInteger(code) && (isAssigned || isPrivate) ? code : closeCodes.internalError
}

/**
 * Returns the text for a Close frame, cut to the frame's 123 bytes at a character boundary: peers reject half a
 * character.
 */
export function closeText(text: string): string {
  return cutToBytes(text.toWellFormed(), maxCloseTextBytes)
}

const knownReasons: Readonly<Record<number, { message: string; reason?: TransportReason }>> = {
  [closeCodes.goingAway]: { message: 'the peer goes away', reason: 'draining' },
  [closeCodes.noStatus]: { message: 'the peer closed' },
  [closeCodes.abnormal]: { message: 'the connection was lost' },
}

/** Returns the close reason for the peer's code and text; `error` is the socket's, if it had one. */
export function remoteCloseReason(code: number, text: string, error: Error | undefined): CloseReason {
  const known = knownReasons[code]
  const message = text || `${known?.message ?? 'the peer closed'}${error ? `: ${error.message}` : ''}`
  return known?.reason ? { code, message, reason: known.reason } : { code, message }
}

/** Returns the close text for a received message above the limit. */
export function tooLargeText(maxBytes: number): string {
  return `message is larger than maxMessageBytes ${maxBytes.toLocaleString('en')}`
}

/** Returns the close reason for a received message above the limit. */
export function receivedTooLarge(maxBytes: number): CloseReason {
  return { code: closeCodes.messageTooLarge, message: tooLargeText(maxBytes), received: true }
}
