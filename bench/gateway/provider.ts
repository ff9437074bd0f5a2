/**
 * The stand-in provider, in a process of its own: responds at once, to paths `/<row>/v1/chat/completions`, and counts
 * the responses of each row. It reads and writes HTTP by hand, because it shares the machine with the measured process.
 *
 * Sends its URL to the parent, then the counts by row whenever it is asked.
 */
import { createServer, type Socket } from 'node:net'
import { type Counts, count, noCounts, responseBody, streamChunks, tokensOf } from './conversation.js'
import { listenOnLoopback } from './loopback.js'

const counts: Record<string, Counts> = {}
const streams = new Set<Iterator<string>>()
let served = 0

const server = createServer({ noDelay: true }, socket => {
  let received = ''
  socket.on('error', () => {})
  socket.on('data', data => {
    received += data.toString('latin1')
    const headEnd = received.indexOf('\r\n\r\n')
    if (headEnd < 0) return
    const length = Number(/^content-length: *(\d+)/im.exec(received)?.[1] ?? Number.NaN)
    if (Number.isNaN(length)) throw new Error('a request came without a length')
    if (received.length < headEnd + 4 + length) return
    const [, row = ''] = /^POST \/([^/]+)\/v1\/chat\/completions /.exec(received) ?? []
    respond(socket, row, received.includes('"stream":true'))
    received = ''
  })
})

function respond(socket: Socket, row: string, isStream: boolean): void {
  const tokens = tokensOf(served++)
  counts[row] ??= noCounts()
  count(counts[row], tokens)
  if (isStream) return begin(socket, streamChunks(tokens))
  const body = responseBody(tokens)
  socket.write(`${head}content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
}

/** Writes the chunks one by one, each in a turn of the event loop. */
function begin(socket: Socket, chunks: readonly string[]): void {
  socket.write(`${head}content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n`)
  if (streams.size === 0) setImmediate(advance)
  streams.add(writing(socket, chunks))
}

function* writing(socket: Socket, chunks: readonly string[]): Generator<string, void> {
  for (const [index, chunk] of chunks.entries()) {
    const isLast = index === chunks.length - 1
    socket.write(`${chunk.length.toString(16)}\r\n${chunk}\r\n${isLast ? '0\r\n\r\n' : ''}`)
    yield chunk
  }
}

function advance(): void {
  for (const stream of streams) if (stream.next().done) streams.delete(stream)
  if (streams.size > 0) setImmediate(advance)
}

const head = [
  'HTTP/1.1 200 OK',
  'date: Mon, 01 Jun 2026 00:00:00 GMT',
  'x-request-id: req_0123456789abcdef0123456789abcdef',
  'openai-processing-ms: 12',
  'openai-version: 2020-10-01',
  'x-ratelimit-limit-requests: 10000',
  'x-ratelimit-remaining-requests: 9999',
  '',
].join('\r\n')

process.on('message', () => process.send?.(counts))
process.on('disconnect', () => process.exit())
process.send?.(await listenOnLoopback(server))
