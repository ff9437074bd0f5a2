/** The door `/acp` of a whole server: no internal field of a part leaves, neither live nor with the history. */
import { randomUUID } from 'node:crypto'
import { expect, onTestFinished, test } from 'vitest'
import { createAcpClient } from '../../../../client/acp/acp-client.js'
import { createBridgeClient } from '../../../../client/bridge-client.js'
import { createBridgeServer } from '../../../../server/control-plane/server.js'
import type { ChatModels, ModelResponse, StoredPart } from '../../../../server/services/chats/model.js'
import { silentLogger } from '../../../../shared/values/log.js'
import { AcpPeer, promptOf } from '../../../fixtures/acp/acp-peer.js'
import { admin, oneStore } from '../../services/running-server.js'

const store = oneStore()
const secret = 'signature-of-the-provider'
const hidden = (part: StoredPart): StoredPart => ({ ...part, internal: JSON.stringify({ signature: secret }) })

const responses: ModelResponse[] = [
  {
    parts: [
      hidden({ type: 'reasoning', text: 'a thought' }),
      hidden({ type: 'reasoning', text: '' }),
      hidden({ type: 'tool-call', toolCallId: 't1', toolName: 'unknown', input: '{}' }),
    ],
    usage: null,
    finishReason: 'tool_calls',
  },
  {
    parts: [hidden({ type: 'text', text: 'the words' }), hidden({ type: 'source', url: 'https://example.com/' })],
    usage: null,
    finishReason: 'end',
  },
]

/** A model whose parts have internal fields while they stream and in the whole response. */
function model(): ChatModels {
  const left = [...responses]
  return {
    async call(_, { onPart }) {
      const response = left.shift() ?? expect.fail('a third call')
      for (const [index, part] of response.parts.entries()) onPart({ role: 'assistant', index, part })
      return response
    },
  }
}

async function openServer() {
  const encryptionKeys = [new Uint8Array(32).fill(7)]
  const server = await createBridgeServer({ store: store(), logger: silentLogger, config: { encryptionKeys } })
  const { url } = await server.listen({ host: '127.0.0.1', port: 0 })
  const chats = server.runChats({ models: model() })
  const operator = createBridgeClient({ dial: () => server.connectInMemory({ identity: admin }) })
  onTestFinished(async () => {
    await chats.close({ graceMs: 0 })
    await operator.close()
    await server.close({ graceMs: 0 })
  })
  const { id } = await operator.admin.users.create.mutate({ username: `user-${randomUUID().slice(0, 8)}` })
  const { key } = await operator.admin.apiKeys.create.mutate({ user: id })
  return { url: `${url}/acp`, key }
}

test('a client of /acp gets no internal field of a part, live or with the history', async () => {
  const { url, key } = await openServer()
  const open = async () => {
    const client = createAcpClient({ url, headers: { authorization: `Bearer ${key}` } })
    onTestFinished(async () => void (await client.close()))
    const peer = new AcpPeer(client)
    await peer.request('initialize', { protocolVersion: 1 })
    return peer
  }
  const live = await open()
  const { sessionId } = await live.request('session/new', { cwd: '/', mcpServers: [] })
  expect(await live.request('session/prompt', promptOf(sessionId, 'hi'))).toEqual({ stopReason: 'end_turn' })
  const late = await open()
  await late.request('session/load', { sessionId, cwd: '/', mcpServers: [] })
  for (const { received } of [live, late]) {
    const all = JSON.stringify(received)
    for (const shown of ['a thought', 't1', 'the words', 'https://example.com/']) expect(all).toContain(shown)
    expect(all).not.toMatch(/signature|internal/)
  }
  const { messages } = (await store().readHistory(String(sessionId))) ?? expect.fail('the chat is unknown')
  expect(JSON.stringify(messages), 'the row keeps the fields').toContain(secret)
})
