import { describe, expect, it } from 'vitest'
import type { Message } from '../../../../shared/rpc/duplex.js'
import { copiedBytes, copiedContainers, copyJson } from '../../../../shared/rpc/json/json-copy.js'
import { OwnedJson } from '../../../../shared/rpc/json/owned-json.js'
import { serializeForMessage, transformer } from '../../../../shared/rpc/json/transformer.js'
import { maxDepth } from '../../../../shared/rpc/limits.js'
import { memoryDuplexPair } from '../../../../shared/rpc/links/memory-duplex.js'
import { fc } from '../../../fixtures/random.js'

const anyValue = fc.anything({ withDate: true, withBigInt: true, withMap: true, withNullPrototype: true })

/** What a copy of `message` counts and delivers. */
function copied(message: object): { copy: object; bytes: number; containers: number } {
  const copy = copyJson(message, 1e9)
  return { copy, bytes: copiedBytes, containers: copiedContainers }
}

/** superjson throws on the keys `__proto__`, `constructor` and `prototype` beside values that only it encodes. */
function serializedOrNothing(value: unknown): unknown {
  try {
    return transformer.serialize(value)
  } catch {
    return undefined
  }
}

function owned(value: unknown): OwnedJson {
  const encoded = serializeForMessage(transformer, value)
  if (!(encoded instanceof OwnedJson)) throw new Error('superjson has encoded the value')
  return encoded
}

describe('the transformer’s output for one message', () => {
  it('it has the text, the copy and the size of the plain output', () => {
    fc.assert(
      fc.property(anyValue, value => {
        const plain = serializedOrNothing(value)
        fc.pre(plain !== undefined)
        const once = serializeForMessage(transformer, value)
        expect(JSON.stringify({ once })).toBe(JSON.stringify({ once: plain }))
        expect(copied({ once })).toStrictEqual(copied({ once: plain }))
      }),
      { numRuns: 1_000 },
    )
  })

  it('the in-memory link gives it to one receiver, and a copy to all later ones', async () => {
    const encoded = owned({ list: [1, 2] })
    const received: Message[] = []
    const [end, far] = memoryDuplexPair()
    far.open({ onMessage: message => received.push(message), onDrain() {}, onClose() {} })
    for (let time = 0; time < 3; time++) end.send({ input: encoded })
    await expect.poll(() => received.length).toBe(3)
    const given = received.map(message => Reflect.get(Reflect.get(message as object, 'input'), 'json')) // sent above
    expect(given.map(json => json === encoded.json)).toEqual([true, false, false])
    expect(given).toEqual([encoded.json, encoded.json, encoded.json])
  })

  it('a kept one is copied for every receiver', () => {
    const encoded = owned({ list: [1, 2] })
    encoded.keep()
    expect(Reflect.get(copyJson(encoded, 1e9), 'json')).not.toBe(encoded.json)
  })

  it('its levels count among those of its message', () => {
    const nested = (levels: number): unknown => JSON.parse('['.repeat(levels) + ']'.repeat(levels))
    expect(() => copyJson({ input: owned(nested(maxDepth - 2)) }, 1e9)).not.toThrow()
    expect(() => copyJson({ input: owned(nested(maxDepth - 1)) }, 1e9)).toThrow('nested deeper than')
  })

  it('a value that superjson encodes, and a value of another transformer, are not given away', () => {
    expect(serializeForMessage(transformer, new Map([[1, 2]]))).not.toBeInstanceOf(OwnedJson)
    expect(serializeForMessage({ serialize: value => value }, 5)).toBe(5)
  })
})
