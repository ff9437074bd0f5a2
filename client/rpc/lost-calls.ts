import { type CloseReason, closeCodes } from '../../shared/rpc/duplex.js'
import { RpcError, transportError } from '../../shared/rpc/errors.js'
import type { PendingCall } from './call.js'
import type { CallOptions } from './call-observer.js'

/**
 * Splits the calls of a duplex that closed: calls to send again on the next duplex, and calls that fail, each with an
 * error.
 */
export function splitLostCalls(
  lost: readonly PendingCall[],
  reason: CloseReason,
  maySendAgain: (call: PendingCall) => boolean,
): { resent: PendingCall[]; failed: Map<PendingCall, RpcError> } {
  const failed = tooLargeCalls(lost, reason)
  const resent: PendingCall[] = []
  for (const call of lost) {
    if (failed.has(call)) continue
    if (maySendAgain(call)) resent.push(call)
    else failed.set(call, lostError(call, reason))
  }
  return { resent, failed }
}

/** Returns the error of a call whose connection was lost and that is not sent again. */
export function lostError(call: PendingCall, { message, code }: CloseReason): RpcError {
  const text = `the connection was lost before the response to ${call.options.path}: ${message} (${code})`
  return new RpcError('SERVICE_UNAVAILABLE', text, { reason: 'connection_lost', mayHaveRun: call.mayHaveRun })
}

/**
 * Returns the errors of the calls that would close the next connection too. A received message above the limit was not
 * read, so the call is unknown: all subscriptions fail, and queries and mutations are sent again only so often. Of the
 * sent calls the largest fails, although a call that was cancelled meanwhile may have been the cause.
 */
function tooLargeCalls(
  lost: readonly PendingCall[],
  { code, message, received }: CloseReason,
): Map<PendingCall, RpcError> {
  const failed = new Map<PendingCall, RpcError>()
  if (code !== closeCodes.messageTooLarge) return failed
  const what = received ? 'an event of this or of another subscription' : 'the largest call of its connection'
  for (const call of received ? lost.filter(isSubscription) : largestOf(lost)) {
    const problem = `${call.options.path} is not sent again: ${what} was too large: ${message}`
    failed.set(call, transportError('message_too_large', problem, { mayHaveRun: true }))
  }
  return failed
}

function isSubscription({ options }: PendingCall): boolean {
  return options.type === 'subscription'
}

/** Returns the call whose message is the largest, if any was sent. */
function largestOf(calls: readonly PendingCall[]): PendingCall[] {
  let largest: PendingCall | undefined
  let largestLength = -1
  for (const call of calls) {
    const length = lengthOf(call.options)
    if (length <= largestLength) continue
    largest = call
    largestLength = length
  }
  return largest ? [largest] : []
}

function lengthOf({ path, input }: CallOptions): number {
  try {
    return JSON.stringify([path, input]).length
  } catch {
    return 0 // The input was encodable once, so the caller has changed the input since.
  }
}
