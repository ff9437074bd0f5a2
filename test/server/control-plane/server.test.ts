import { expect, onTestFinished, test } from 'vitest'
import { createBridgeClient } from '../../../client/bridge-client.js'
import type { BridgeServerConfig } from '../../../server/control-plane/server-config.js'
import type { RpcError } from '../../../shared/rpc/errors.js'
import { openTemporaryStore } from '../../fixtures/stores.js'
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

const keys = [1, 2].map(value => new Uint8Array(32).fill(value))
const [sealing, other] = keys as [Uint8Array, Uint8Array] // of two values

test('encryption keys that open none of the secrets in the database are rejected, whichever kind of secret is there', async () => {
  const own = await openTemporaryStore()
  onTestFinished(() => own.close())
  const { connect } = await startServer(own, { encryptionKeys: [sealing] })
  const { providers, mcpServers, users, externalAuthLinks } = connect(admin).admin
  const wrong = (config: Partial<BridgeServerConfig> = {}) =>
    startServer(own, { encryptionKeys: [other], ...config }).then(
      () => 'started',
      ({ code, reason, message }: RpcError) => `${code} ${reason} ${message}`,
    )
  const rejection = (secret: string, source = 'encryptionKeys') =>
    expect.stringMatching(
      `^BAD_REQUEST config_invalid ${source}: opens none of the secrets in the database \\(${secret} is .*\\); give the key`,
    )
  expect(await wrong()).toBe('started')
  await providers.upsert.mutate({ name: 'one', keys: ['sk-one'] })
  expect(await wrong()).toEqual(rejection('providerKey of one'))
  expect(await wrong({ encryptionKeysSource: '/data/key' })).toEqual(rejection('providerKey of one', '/data/key'))
  expect(await wrong({ encryptionKeys: [other, sealing] })).toBe('started')
  await providers.remove.mutate({ name: 'one' })

  const url = 'https://wiki.example.com/mcp'
  await mcpServers.upsert.mutate({ id: 'wiki', url, clientId: 'bridge', clientSecret: 'secret' })
  expect(await wrong()).toEqual(rejection('clientSecret of wiki'))
  await mcpServers.upsert.mutate({ id: 'wiki', url, clientSecret: null })
  const { id } = await users.create.mutate({ username: 'ada' })
  await externalAuthLinks.set.mutate({ user: id, serverId: 'wiki', accessToken: 'token' })
  expect(await wrong()).toEqual(rejection(`accessToken of ${id}`))
})
