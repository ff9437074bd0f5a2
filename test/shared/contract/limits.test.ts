import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { recordLimits } from '../../../shared/contract/limits.js'
import { recordSchemas } from '../../../shared/contract/recorder.js'
import { cleanJsonObject, JsonRejected } from '../../../shared/values/text.js'

const { maxMetadataBytes, maxMetadataDepth, maxContentBytes } = recordLimits

describe('the size of metadata', () => {
  const filler = (rest: number) => 'x'.repeat(maxMetadataBytes - rest)

  test.each([
    ['one field', { a: filler(8) }],
    ['two fields and a list', { a: filler(30), b: [1, true, null, 'c'] }],
    ['escapes', { a: `${'\u0001"'.repeat(100)}${filler(8 + 800)}` }],
    ['characters of several bytes', { a: `${'é€'.repeat(100)}${filler(8 + 500)}` }],
  ])('the size of metadata is that of its JSON text: %s', (_name, value) => {
    expect(Buffer.byteLength(JSON.stringify(value))).toBe(maxMetadataBytes)
    expect(cleanJsonObject(value, maxMetadataBytes, maxMetadataDepth)).toEqual(value)
    const larger = { ...value, a: `${value.a}x` }
    expect(() => cleanJsonObject(larger, maxMetadataBytes, maxMetadataDepth)).toThrow(JsonRejected)
  })
})

test('content that is cut keeps the sizes that a daemon has noted of other fields', () => {
  const ids = { id: randomUUID(), interceptionId: randomUUID(), msgId: 'm', createdAt: new Date(0) }
  const tool = { ...ids, tool: 't', input: 'x', injected: false, invocationError: 'y'.repeat(maxContentBytes + 5) }
  const noted = recordSchemas.toolUsage.parse({ ...tool, metadata: { original_bytes: { input: 5_000_000 } } })
  expect(noted.metadata).toEqual({ original_bytes: { input: 5_000_000, invocationError: maxContentBytes + 5 } })
  const hostile = recordSchemas.toolUsage.parse({ ...tool, metadata: { original_bytes: 'text' } })
  expect(hostile.metadata).toEqual({ original_bytes: { invocationError: maxContentBytes + 5 } })
})
