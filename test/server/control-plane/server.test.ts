import { expect, test } from 'vitest'
import { createBridgeClient } from '../../../client/bridge-client.js'
import { admin, adminToken, oneStore, startServer } from '../services/running-server.js'

const store = oneStore()

test('a server without an admin token takes no peer for an admin over a WebSocket, and trusts its own process', async () => {
  const { server, connect } = await startServer(store(), { adminToken: undefined })
  const { url } = await server.listen({ host: '127.0.0.1', port: 0 })
  const remote = createBridgeClient({ url, key: adminToken })
  expect(await remote.connection.closed).toMatchObject({ reason: 'key_invalid' })
  expect(await connect(admin).admin.users.list.query()).toEqual([])
})

test('an empty admin token is rejected', async () => {
  await expect(startServer(store(), { adminToken: '' })).rejects.toMatchObject({ reason: 'config_invalid' })
})
