import { expect, test } from 'vitest'
import { ProviderRegistry } from '../../../../client/bridge/control-plane/provider-registry.js'
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
