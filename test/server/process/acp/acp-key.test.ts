import type { IncomingMessage } from 'node:http'
import { afterEach, expect, test, vi } from 'vitest'
import { acpAuthenticator } from '../../../../server/process/acp/acp-key.js'

afterEach(() => void vi.useRealTimers())

test('a wrong key of acp serve is delayed and logged with the address, and the right one is not', async () => {
  vi.useFakeTimers()
  const logged: unknown[][] = []
  const log = (...line: unknown[]) => void logged.push(line)
  const authenticate = acpAuthenticator('right', { debug: log, info: log, warn: log, error: log })
  const request = { headers: {}, socket: { remoteAddress: '192.0.2.1' } } as IncomingMessage // the parts that are read
  const { signal } = new AbortController()
  const ask = (key: string) => authenticate({ request, authorization: `Bearer ${key}`, signal })
  await expect(ask('right')).resolves.toMatchObject({ userId: expect.any(String) })
  let settled = 0
  const guesses = [1, 2, 3, 4, 5, 6, 7, 8].map(guess =>
    expect(ask(`wrong ${guess}`).finally(() => settled++)).rejects.toMatchObject({ code: 'UNAUTHORIZED' }),
  )
  await vi.advanceTimersByTimeAsync(0)
  expect(settled).toBeLessThan(guesses.length)
  await vi.runAllTimersAsync()
  await Promise.all(guesses)
  expect(logged).toContainEqual([
    expect.objectContaining({ reason: 'key_invalid', address: '192.0.2.1' }),
    'a connection was rejected',
  ])
  expect(JSON.stringify(logged)).not.toContain('wrong')
})
