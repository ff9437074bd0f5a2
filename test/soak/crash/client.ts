/** A client of one request, which notes what it received, to the last byte. */
import { type Agent, type IncomingMessage, request } from 'node:http'
import type { Exchange, Exchanges, Outcome } from './exchanges.js'

/** Where a request goes. */
export interface Door {
  url: string
  /** the API key of the user */
  key: string
  agent: Agent
}

/** longest time of one request: the longest wait for a control plane, and a response */
const timeoutMs = 60_000

/** Sends a request and reads its response as planned. Resolves when the client is done, never rejects. */
export function ask(exchanges: Exchanges, exchange: Exchange, { url, key, agent }: Door): Promise<Outcome> {
  const { plan } = exchange
  return new Promise(resolve => {
    let leaving: NodeJS.Timeout | undefined
    const settle = (outcome: Outcome) => {
      if (exchange.outcome !== undefined) return
      clearTimeout(leaving)
      exchange.outcome = outcome
      exchange.settledAt = performance.now()
      exchanges.note('settled', exchange)
      resolve(outcome)
    }
    const call = request(`${url}${plan.path}`, {
      method: 'POST',
      agent,
      timeout: timeoutMs,
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}`, 'x-session-id': plan.tag },
    })
    call.on('error', error => settle(Reflect.get(error, 'code') === 'ECONNREFUSED' ? 'unreachable' : 'cut'))
    call.on('timeout', () => call.destroy())
    call.on('response', response => {
      exchange.status = response.statusCode ?? 0
      read(exchanges, exchange, response, settle)
    })
    call.end(plan.body)
    if (plan.client === 'leaves') {
      leaving = setTimeout(() => {
        settle('left')
        call.destroy()
      }, plan.leavesAfterMs)
    }
  })
}

function read(
  exchanges: Exchanges,
  exchange: Exchange,
  response: IncomingMessage,
  settle: (outcome: Outcome) => void,
): void {
  const { plan, status } = exchange
  const chunks: Buffer[] = []
  let bytes = 0
  const isOurs = () => status === plan.status && Buffer.concat(chunks).equals(plan.received)
  const acknowledge = () => {
    if (exchange.acknowledgedAt !== undefined || exchange.outcome === 'left') return
    exchange.acknowledgedAt = performance.now()
    exchanges.note('acknowledged', exchange)
  }
  // The last byte of a body without an end of its own is known when the response has ended.
  const showsItsEnd = plan.isStream || plan.hasLength
  response.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    bytes += chunk.length
    if (showsItsEnd && bytes === plan.received.length && isOurs()) acknowledge()
    if (plan.client === 'slow') {
      response.pause()
      setTimeout(() => response.resume(), 3)
    }
  })
  response.on('error', () => {})
  response.on('close', () => {
    if (response.complete && isOurs()) {
      acknowledge()
      settle('whole')
    } else if (exchange.acknowledgedAt !== undefined) settle('whole')
    else if (!response.complete) settle('cut')
    else settle(status === plan.status ? 'changed' : 'rejected')
  })
}
