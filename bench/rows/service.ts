/**
 * The service that every row offers: one `recordTokenUsage` with nested metadata and a Date, checked by the contract's
 * schema, with a handler that returns `{}`; the same values sent back; and a stream of small items.
 */
import type { z } from 'zod'
import { recordSchemas } from '../../shared/contract/recorder.js'

export type TokenUsage = z.input<typeof recordSchemas.tokenUsage>

export interface Item {
  id: number
  name: string
}

/** Different records, so that a checksum notices a lost, a repeated and a mixed-up one. A power of two. */
export const records: readonly TokenUsage[] = Array.from({ length: 1_024 }, (_, number) => ({
  id: `0199f0a0-0000-7000-8000-${number.toString(16).padStart(12, '0')}`,
  interceptionId: '0199f0a0-0000-7000-8000-000000000002',
  msgId: 'msg_01Pvyf26bY17RcjmWfJsXGBn',
  inputTokens: number,
  outputTokens: 240,
  cacheReadInputTokens: 13_993,
  cacheWriteInputTokens: 22,
  metadata: {
    service_tier: 'standard',
    cache_creation: { ephemeral_5m_input_tokens: number * 7, ephemeral_1h_input_tokens: 0 },
  },
  createdAt: new Date(Date.UTC(2026, 10, 21, 8) + number * 1_001),
}))

/** Returns a number of 32 bits that depends on fields of each kind, at each depth. Takes some 50 ns. */
export function checksumOf({ id, inputTokens, outputTokens, metadata, createdAt }: TokenUsage): number {
  // A record that lost its metadata must fail the comparison and not throw.
  const nested = metadata?.cache_creation as { ephemeral_5m_input_tokens?: number } | undefined
  let sum = Math.imul(inputTokens + 1, 0x9e3779b1) ^ Math.imul(outputTokens, 0x85ebca6b)
  sum = Math.imul(sum, 31) + (nested?.ephemeral_5m_input_tokens ?? -1)
  sum = Math.imul(sum, 31) + (createdAt instanceof Date ? createdAt.getTime() % 1_000_003 : -1)
  for (let index = id.length - 4; index < id.length; index++) sum = Math.imul(sum, 31) + id.charCodeAt(index)
  return sum | 0
}

/** The handlers of one row, with the checksum of the received records. */
export class Service {
  /** of all received records; their order does not matter */
  checksum = 0
  readonly schema = recordSchemas.tokenUsage

  /** @param record a value that {@link schema} has checked */
  recordTokenUsage(record: TokenUsage): object {
    this.checksum = (this.checksum + checksumOf(record)) | 0
    return {}
  }

  /** @param record a value that {@link schema} has checked */
  echo(record: TokenUsage): TokenUsage {
    return record
  }

  async *items(count: number): AsyncGenerator<Item, void> {
    for (let id = 0; id < count; id++) yield { id, name: 'an item' }
  }
}
