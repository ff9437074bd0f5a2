/** `aibridge secrets` against a server that listens. */
import { afterEach, expect, test, vi } from 'vitest'
import { addSecretsCommands } from '../../../server/commands/rotate-secrets.js'
import type { BridgeServerConfig } from '../../../server/control-plane/server-config.js'
import type { RotationResult } from '../../../shared/contract/admin/secrets.js'
import { oneStore } from '../services/running-server.js'
import { commandLine, runWords } from './command-line.js'

const store = oneStore()
const operator = (config: Partial<BridgeServerConfig>) => commandLine(store(), addSecretsCommands, config)
const [oldKey, newKey, otherKey] = [7, 8, 9].map(value => new Uint8Array(32).fill(value)) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
]

afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
})

test('the command line has it', async () => {
  expect(await runWords(['secrets', 'rotate', '--help'])).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('BRIDGE_ENCRYPTION_KEY'),
  })
})

test('rotate says what was done and what is next', async () => {
  const single = await operator({ encryptionKeys: [oldKey] })
  await single.admin.providers.upsert.mutate({ name: 'one', type: 'anthropic', keys: ['sk-one'] })
  expect(await single.print('secrets', 'rotate')).toMatch(/^sealed anew: 0, .*\nthere is no new key: .*NEW,OLD.*\n$/)

  const both = await operator({ encryptionKeys: [newKey, oldKey] })
  expect(await both.print('secrets', 'rotate')).toMatch(
    /^sealed anew: 1, under the new key already: 0, unreadable: 0\nthe old key may be removed from BRIDGE_ENCRYPTION_KEY once .*\n$/,
  )
  expect(await both.json<RotationResult>('secrets', 'rotate')).toEqual({
    rotated: 0,
    kept: 1,
    unreadable: 0,
    oldKey: 'configured',
  })

  const rotateKeys = async () => ({ keys: [newKey, oldKey], finish: async () => {} })
  const own = await operator({ encryptionKeys: [newKey, oldKey], rotateKeys })
  expect(await own.print('secrets', 'rotate')).toMatch(/the server made a new key; keep a copy/)

  // With the old key gone, the secrets under the new one are unreadable.
  const third = await operator({ encryptionKeys: [otherKey, newKey] })
  await third.admin.providers.upsert.mutate({ name: 'two', type: 'anthropic', keys: ['sk-two'] })
  const foreign = await operator({ encryptionKeys: [otherKey, oldKey] })
  expect(await foreign.print('secrets', 'rotate')).toMatch(/unreadable: 1\n.*log.*\nkeep the old key until/)
})
