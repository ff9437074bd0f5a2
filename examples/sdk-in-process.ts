/**
 * An SDK on top of a bridge in the same process: no port for the bridge, no key's secret, and every request is recorded
 * on its owner.
 *
 * The control plane runs here too, with an embedded store in a new directory; a program that has a server elsewhere
 * passes `url` and a daemon key to `createBridgeClient` instead. Prints the demo provider's reply and the recorded
 * tokens.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Anthropic from '@anthropic-ai/sdk'
import { createBridgeClient, createBridgeDaemon, createBridgeFetch } from 'aibridge/client'
import { createBridgeServer, ensureSecrets, openStore } from 'aibridge/server'

const logger = { debug() {}, info() {}, warn: console.warn, error: console.error }

const dataDir = await mkdtemp(join(tmpdir(), 'aibridge-example-'))
const config = await ensureSecrets({ dataDir, logger })
const store = await openStore({ dataDir, logger })
const server = await createBridgeServer({ store, config, logger })
// The provider `demo` is a part of the server and is reached by HTTP, like every provider.
await server.listen({ host: '127.0.0.1', port: 0 })

// An operator's work: one user, one key.
const operator = createBridgeClient({
  dial: () => server.connectInMemory({ identity: { role: 'admin', name: 'example' } }),
})
await operator.admin.users.create.mutate({ username: 'ada' })
const key = await operator.admin.apiKeys.create.mutate({ user: 'ada' })

// #region fetch
const client = createBridgeClient({
  dial: () => server.connectInMemory({ identity: { role: 'daemon', name: 'agents', delegate: true } }),
})
const daemon = createBridgeDaemon({ client, logger })

const anthropic = new Anthropic({
  fetch: createBridgeFetch(daemon, { provider: 'demo', source: 'agents', keyId: key.id }),
  apiKey: 'unused', // the SDK insists on one; the bridge drops it
})
const message = await anthropic.messages.create({
  model: 'demo',
  max_tokens: 100,
  messages: [{ role: 'user', content: 'Hello' }],
})
// #endregion
console.log(message.content[0]?.type === 'text' ? message.content[0].text : message.content)

// Closed first, the daemon hands its records over while the control plane still takes them.
await daemon.close({ graceMs: 5_000 })
await client.close()

const [usage] = (await operator.admin.usage.query({ by: ['user'] })).rows
console.log(`${usage?.username}: ${usage?.interceptions} request, ${usage?.outputTokens} output tokens`)

await operator.close()
await server.close({ graceMs: 5_000 })
await store.close()
await rm(dataDir, { recursive: true })
