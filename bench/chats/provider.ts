/**
 * A provider of the Messages API, in a process of its own: each delta of a response carries the time at which it was
 * written. The argument says how many deltas a response has, a request's model how many ms apart. Sends its URL to the
 * parent.
 */
import { createServer, type ServerResponse } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { listenOnLoopback } from '../gateway/loopback.js'

const deltas = Number(process.argv[2])

const server = createServer((request, response) => {
  let body = ''
  request.on('data', chunk => {
    body += chunk
  })
  request.once('end', () => void respond(response, Number(JSON.parse(body).model)))
})

async function respond(response: ServerResponse, everyMs: number): Promise<void> {
  const write = (event: { type: string; [key: string]: unknown }): void => {
    response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const usage = { input_tokens: 10, output_tokens: 1 }
  const message = { id: `msg_${process.hrtime.bigint()}`, type: 'message', role: 'assistant', model: 'm', content: [] }
  write({ type: 'message_start', message: { ...message, stop_reason: null, stop_sequence: null, usage } })
  write({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } })
  // The first words come later, as a model's do.
  await pause(200)
  for (let delta = 0; delta < deltas && !response.destroyed; delta++) {
    await pause(everyMs)
    // The clock of the system, which all processes share.
    const text = `${process.hrtime.bigint()} `
    write({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } })
  }
  write({ type: 'content_block_stop', index: 0 })
  write({ type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, usage: { output_tokens: 9 } })
  write({ type: 'message_stop' })
  response.end()
}

process.on('disconnect', () => process.exit())
process.send?.(await listenOnLoopback(server))
