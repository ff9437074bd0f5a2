/**
 * The control plane inside a program: a store, a server, and a client on a link in memory. No port is opened.
 *
 * A `databaseUrl` in place of `dataDir` opens a PostgreSQL database; `server.listen()` lets remote daemons and the
 * command line in. The program records one request as a daemon does and reads it back as an operator. Prints the
 * recorded tokens.
 */
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createBridgeClient } from 'aibridge/client'
import { createBridgeServer, ensureSecrets, openStore } from 'aibridge/server'

const dataDir = await mkdtemp(join(tmpdir(), 'aibridge-example-'))

// #region server
// Makes the encryption key and the admin token at the first start, so it comes before the store.
const config = await ensureSecrets({ dataDir })
const store = await openStore({ dataDir })
const server = await createBridgeServer({ store, config })

const client = createBridgeClient({
  dial: () => server.connectInMemory({ identity: { role: 'daemon', name: 'my-program', delegate: true } }),
})
// #endregion

const operator = createBridgeClient({
  dial: () => server.connectInMemory({ identity: { role: 'admin', name: 'my-program' } }),
})
const { id: initiatorId } = await operator.admin.users.create.mutate({ username: 'ada' })
const { id: apiKeyId } = await operator.admin.apiKeys.create.mutate({ user: 'ada' })

// #region record
const id = randomUUID()
await client.recorder.recordInterception.mutate({
  id,
  initiatorId,
  apiKeyId,
  provider: 'anthropic',
  model: 'a-model',
  startedAt: new Date(),
})
await client.recorder.recordTokenUsage.mutate({
  id: randomUUID(),
  interceptionId: id,
  msgId: 'msg_1',
  inputTokens: 12,
  outputTokens: 34,
  cacheReadInputTokens: 0,
  cacheWriteInputTokens: 0,
  createdAt: new Date(),
})
// #endregion

const { interception, tokenUsages } = await operator.admin.interceptions.get.query({ id })
console.log(`${interception.model}: ${tokenUsages[0]?.inputTokens} in, ${tokenUsages[0]?.outputTokens} out`)

// #region close
await client.close()
await operator.close()
await server.close({ graceMs: 5_000 })
await store.close()
// #endregion
await rm(dataDir, { recursive: true })
