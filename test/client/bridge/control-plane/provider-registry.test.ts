import { TRPCClientError } from '@trpc/client'
import { expect, test, vi } from 'vitest'
import { ProviderRegistry } from '../../../../client/bridge/control-plane/provider-registry.js'
import { watchProviders } from '../../../../client/bridge/control-plane/provider-watch.js'
import { memoryLogger } from '../running-bridge.js'

test('a closed registry aborts its read, begins no other and logs nothing', async () => {
  const { logger, lines } = memoryLogger()
  const signals: AbortSignal[] = []
  const load = (signal: AbortSignal) => {
    signals.push(signal)
    return new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  }
  const registry = new ProviderRegistry({ load, logger, ttlMs: 1_000 })
  const found = registry.find('anthropic')
  registry.changed()
  registry.close()
  await expect(found).rejects.toThrow('the bridge is closed')
  await expect(registry.find('anthropic')).rejects.toThrow('the bridge is closed')
  expect(registry.loaded).toBe(false)
  expect(signals.map(signal => signal.aborted)).toEqual([true])
  expect(lines).toEqual([])
})

/** An error as the client makes one for a call on a connection. */
function callError(data: object): Error {
  return TRPCClientError.from({ error: { message: 'failed', code: -32603, data } })
}

const ends: [string, object][] = [
  ['this side', { code: 'SERVICE_UNAVAILABLE', reason: 'connection_closed', mayHaveRun: false }],
  ['a rejection', { code: 'UNAUTHORIZED', reason: 'key_revoked', mayHaveRun: false }],
]

test.each(ends)(
  'a link that was closed for good by %s ends reads and the watch without a log line',
  async (_, data) => {
    vi.useFakeTimers()
    try {
      const { logger, lines } = memoryLogger()
      const error = callError(data)
      const registry = new ProviderRegistry({ load: () => Promise.reject(error), logger, ttlMs: 1_000 })
      await expect(registry.find('anthropic')).rejects.toBe(error)
      const subscribe = vi.fn((_: undefined, handlers: { onError(error: unknown): void }) => {
        handlers.onError(error)
        return { unsubscribe() {} }
      })
      const getProviders = { query: () => Promise.reject(error) }
      const reportKey = { mutate: () => Promise.reject(error) }
      watchProviders(
        { providerConfigurator: { getProviders, reportKey, watchProviders: { subscribe } } },
        () => {},
        logger,
      )
      await vi.runAllTimersAsync()
      expect(subscribe).toHaveBeenCalledOnce()
      expect(lines).toEqual([])
    } finally {
      vi.useRealTimers()
    }
  },
)

test('a read that fails on a link that goes on is logged', async () => {
  const { logger, lines } = memoryLogger()
  const error = callError({ code: 'INTERNAL_SERVER_ERROR' })
  const registry = new ProviderRegistry({ load: () => Promise.reject(error), logger, ttlMs: 1_000 })
  await expect(registry.find('anthropic')).rejects.toBe(error)
  expect(lines).toMatchObject([{ message: 'providers could not be read' }])
})
