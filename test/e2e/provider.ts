/** A stand-in for Anthropic on loopback, whose streams wait for the test. */
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface StandIn {
  url: string
  /** received requests, in order */
  requests: { path: string; headers: IncomingHttpHeaders; body: string }[]
  /** Makes streams wait after their first token until `open` is called. */
  gate(): { open(): void }
  close(): Promise<void>
}

/** The text that it streams, token by token. */
export const tokens = ['Two', ' angels', ', at', ' most.']

/**
 * Responds to `POST /v1/messages` with {@link tokens}, as a stream if the request asks for one, 11 tokens in and 7 out.
 */
export async function startProvider(): Promise<StandIn> {
  const requests: StandIn['requests'] = []
  let gate = Promise.resolve()
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    requests.push({ path: request.url ?? '', headers: request.headers, body })
    if (body !== '' && JSON.parse(body).stream !== true) {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(wholeMessage))
      return
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const send = (event: { type: string; [field: string]: unknown }) =>
      response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
    send(messageStart)
    send({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } })
    for (const [index, text] of tokens.entries()) {
      if (index === 1) await gate
      send({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } })
    }
    send({ type: 'content_block_stop', index: 0 })
    send({
      type: 'message_delta',
      delta: { stop_reason: 'end_turn', stop_sequence: null },
      usage: { output_tokens: 7 },
    })
    send({ type: 'message_stop' })
    response.end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // it listens on TCP
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    gate() {
      let open = () => {}
      gate = new Promise<void>(resolve => {
        open = resolve
      })
      return { open: () => open() }
    },
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

const messageStart = {
  type: 'message_start',
  message: {
    id: 'msg_stand_in_1',
    type: 'message',
    role: 'assistant',
    model: 'claude-test-1',
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: { input_tokens: 11, output_tokens: 1, cache_read_input_tokens: 0, cache_creation_input_tokens: 0 },
  },
}

const wholeMessage = {
  ...messageStart.message,
  content: [{ type: 'text', text: tokens.join('') }],
  stop_reason: 'end_turn',
  usage: { ...messageStart.message.usage, output_tokens: 7 },
}
