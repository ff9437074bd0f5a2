/**
 * An agent of the Agent Client Protocol, written with the official SDK, for clients over HTTP and WebSocket.
 *
 * Prints `you said: hello` for a prompt of the official client over HTTP, and then the result of the shutdown.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type AgentApp, type AnyMessage, agent, client } from '@agentclientprotocol/sdk'
import { createHttpStream } from '@agentclientprotocol/sdk/experimental/http-client'
import { ConnectionGroup, serveAcp } from 'aibridge/server'
import { type Duplex, memoryDuplexPair, RpcError } from 'aibridge/shared'

// #region adapter
/** Connects an agent of the SDK, and returns the end of it that `serveAcp` takes. */
function duplexOf(app: AgentApp): Duplex {
  const [serverEnd, agentEnd] = memoryDuplexPair()
  let goOn = () => {}
  const readable = new ReadableStream<AnyMessage>({
    start(controller) {
      const onMessage = (message: unknown) => {
        controller.enqueue(message as AnyMessage) // the server checks it
        // The agent is busy: the client's next messages wait.
        if ((controller.desiredSize ?? 0) <= 0) agentEnd.pauseReading?.()
      }
      const onClose = () => {
        goOn()
        controller.close()
      }
      agentEnd.open({ onMessage, onDrain: () => goOn(), onClose })
    },
    pull: () => agentEnd.resumeReading?.(),
  })
  const writable = new WritableStream<AnyMessage>({
    async write(message) {
      agentEnd.send(message)
      // The client has left much unread: the agent waits.
      if (agentEnd.full) await new Promise<void>(resolve => (goOn = resolve))
    },
  })
  const { closed } = app.connect({ readable, writable })
  void closed.then(() => agentEnd.close({ code: 1000, message: 'the agent has ended' }))
  return serverEnd
}
// #endregion

// #region agent
function createEcho(): AgentApp {
  return agent()
    .onRequest('initialize', () => ({ protocolVersion: 1, agentCapabilities: {} }))
    .onRequest('session/new', () => ({ sessionId: crypto.randomUUID() }))
    .onRequest('session/prompt', async ({ params: { sessionId, prompt }, client }) => {
      const text = prompt.map(part => (part.type === 'text' ? part.text : '')).join('')
      const content = { type: 'text', text: `you said: ${text}` } as const
      await client.notify('session/update', { sessionId, update: { sessionUpdate: 'agent_message_chunk', content } })
      return { stopReason: 'end_turn' }
    })
}
// #endregion

// #region serve
const group = new ConnectionGroup()
const server = createServer().listen(0, '127.0.0.1')
await once(server, 'listening')

serveAcp({
  server,
  path: '/acp',
  group,
  authenticate({ authorization }) {
    if (authorization === 'Bearer secret of Ada') return { userId: 'ada' }
    throw new RpcError('UNAUTHORIZED', 'the token is not valid')
  },
  agent: () => duplexOf(createEcho()), // one agent for each connection
})
// #endregion

const { port } = server.address() as AddressInfo // a server that listens on TCP
const stream = createHttpStream(`http://127.0.0.1:${port}/acp`, {
  headers: { authorization: 'Bearer secret of Ada' },
})
const app = client().onNotification('session/update', ({ params: { update } }) => {
  if (update.sessionUpdate === 'agent_message_chunk' && update.content.type === 'text') console.log(update.content.text)
})
await app.connectWith(stream, async agent => {
  await agent.request('initialize', { protocolVersion: 1 })
  const { sessionId } = await agent.request('session/new', { cwd: '/', mcpServers: [] })
  await agent.request('session/prompt', { sessionId, prompt: [{ type: 'text', text: 'hello' }] })
})

console.log(await group.close({ graceMs: 5_000 }))
server.close()
server.closeAllConnections()
