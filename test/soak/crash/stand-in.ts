/** A stand-in for all providers of a round: it responds as planned, and notes what it has sent. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Exchange, Exchanges } from './exchanges.js'

/** A running stand-in. */
export interface StandIn {
  url: string
  close(): Promise<void>
}

/** Starts the provider that responds to the tags of these requests. */
export async function startStandIn(exchanges: Exchanges): Promise<StandIn> {
  const server = createServer((request, response) => void respond(exchanges, request, response).catch(() => {}))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // it listens on TCP
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

async function respond(exchanges: Exchanges, request: IncomingMessage, response: ServerResponse): Promise<void> {
  let body = ''
  for await (const chunk of request) body += chunk
  const tag = /crash-\d+-\d+-\d+/.exec(body)?.[0] ?? ''
  const exchange = exchanges.get(tag)
  if (!exchange) {
    exchanges.strayCalls.push(`${request.url} ${body.slice(0, 200)}`)
    response.writeHead(404).end()
    return
  }
  exchange.calledAt.push(performance.now())
  exchanges.note('called', exchange)
  await send(exchanges, exchange, response)
}

async function send(exchanges: Exchanges, exchange: Exchange, response: ServerResponse): Promise<void> {
  const { status, contentType, isCompressed, hasLength, parts, endPauseMs } = exchange.plan
  response.writeHead(status, {
    'content-type': contentType,
    ...(isCompressed && { 'content-encoding': 'gzip' }),
    ...(hasLength && { 'content-length': parts.reduce((sum, { bytes }) => sum + bytes.length, 0) }),
  })
  const last = parts.at(-1)
  for (const part of parts) {
    await pause(part.pauseMs)
    if (part === last) await exchanges.held
    if (response.destroyed) return
    const isTaken = response.write(part.bytes)
    if (exchange.firstSentAt === undefined) {
      exchange.firstSentAt = performance.now()
      exchanges.note('streaming', exchange)
    }
    if (part === last) {
      exchange.lastSentAt = performance.now()
      exchanges.note('sent', exchange)
    } else if (!isTaken) await Promise.race([once(response, 'drain'), once(response, 'close')])
  }
  await pause(endPauseMs)
  response.end()
}

function pause(ms: number): Promise<void> {
  return ms === 0 ? Promise.resolve() : new Promise(resolve => setTimeout(resolve, ms))
}
