import { expect, test } from 'vitest'
import { readinessOf } from '../../../server/process/run-daemon.js'

type Client = Parameters<typeof readinessOf>[0]

/** A client of a control plane whose store is in one of three states. */
function client(state: string, ready: () => Promise<{ isWritable: boolean }>): Client {
  return { connection: { state }, recorder: { ready: { query: ready } } } as unknown as Client // the parts that are read
}

const daemon = { ready: () => true }

test.each<[string, Client, object]>([
  ['writes', client('open', async () => ({ isWritable: true })), { controlPlane: 'ok', store: 'ok', bridge: 'ok' }],
  [
    'takes no writes',
    client('open', async () => ({ isWritable: false })),
    { controlPlane: 'ok', store: 'does not answer', bridge: 'ok' },
  ],
  [
    'cannot be asked',
    client('open', () => Promise.reject(new Error('no response'))),
    { controlPlane: 'ok', store: 'does not answer', bridge: 'ok' },
  ],
  [
    'is away',
    client('connecting', () => Promise.reject(new Error('must not be asked'))),
    { controlPlane: 'connecting', store: 'does not answer', bridge: 'ok' },
  ],
])('a daemon whose control plane %s says so', async (_, plane, states) => {
  expect(await readinessOf(plane, daemon)).toEqual(states)
})
