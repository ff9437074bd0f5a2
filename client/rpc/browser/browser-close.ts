import { closeCodes } from '../../../shared/rpc/duplex.js'
import { closeText } from '../../../shared/rpc/links/websocket-close.js'
import type { BrowserSocket } from './browser-socket.js'

/**
 * Codes that a page may not send stand 2,000 higher, among the codes for libraries (RFC 6455, section 7.4.2). IANA has
 * assigned none of these.
 */
const standIns: Readonly<Record<number, number>> = {
  [closeCodes.goingAway]: 3001,
  [closeCodes.protocolError]: 3002,
  [closeCodes.messageTooLarge]: 3009,
}

/** The stand-in for 1011, and for all codes without one of their own. */
const internalError = 3011

/** Returns the code that a page may send for a reason's code: 1000 and 3000 to 4999 stay as they are. */
export function browserCloseCode(code: number): number {
  const isAllowed = code === closeCodes.normal || (Number.isInteger(code) && code >= 3000 && code <= 4999)
  return isAllowed ? code : (standIns[code] ?? internalError)
}

/** Closes a socket; the browser sends the bytes of its buffer first. */
export function closeBrowserSocket(socket: BrowserSocket, reason: { code: number; message: string }): void {
  socket.close(browserCloseCode(reason.code), closeText(reason.message))
}
