/**
 * One `recordTokenUsage` with nested metadata and a Date, checked by the contract's schema, a handler that returns
 * `{}`, superjson.
 */
import { initTRPC } from '@trpc/server'
import { recordSchemas } from '../shared/contract/recorder.js'
import { transformer } from '../shared/rpc/transformer.js'

const t = initTRPC.create({ transformer })
export const router = t.router({
  recorder: t.router({ recordTokenUsage: t.procedure.input(recordSchemas.tokenUsage).mutation(() => ({})) }),
})

export const record = {
  id: '0199f0a0-0000-7000-8000-000000000001',
  interceptionId: '0199f0a0-0000-7000-8000-000000000002',
  msgId: 'msg_01Pvyf26bY17RcjmWfJsXGBn',
  inputTokens: 18,
  outputTokens: 240,
  cacheReadInputTokens: 13_993,
  cacheWriteInputTokens: 22,
  metadata: {
    service_tier: 'standard',
    cache_creation: { ephemeral_5m_input_tokens: 22, ephemeral_1h_input_tokens: 0 },
  },
  createdAt: new Date('2026-11-21T08:00:00.000Z'),
}
