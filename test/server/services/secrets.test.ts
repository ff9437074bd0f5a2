import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { generateApiKey, parseApiKey } from '../../../server/services/api-key.js'
import { createSecretBox, providerKeyPlace, SecretUnreadable } from '../../../server/services/secrets.js'
import { fc } from '../../fixtures/random.js'

const place = providerKeyPlace('anthropic', 'k1')
const oldKey = randomBytes(32)
const newKey = randomBytes(32)
const secret = 'sk-ant-MARKED-SECRET-0123456789'

describe('a secret box', () => {
  test('a secret box opens what it sealed', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), text => {
        const box = createSecretBox([oldKey])
        expect(box.open(box.seal(text, place), place)).toBe(text)
      }),
    )
  })

  test('seals the same secret differently each time, and shows nothing of it', () => {
    const box = createSecretBox([oldKey])
    const [one, other] = [box.seal(secret, place), box.seal(secret, place)]
    expect(one).not.toEqual(other)
    expect(Buffer.from(one).toString('latin1')).not.toContain('MARKED')
  })

  test('with two keys the first seals and both open', () => {
    const sealedByOld = createSecretBox([oldKey]).seal(secret, place)
    const both = createSecretBox([newKey, oldKey])
    expect(both.open(sealedByOld, place)).toBe(secret)
    const sealedByNew = both.seal(secret, place)
    expect(createSecretBox([newKey]).open(sealedByNew, place)).toBe(secret)
    expect(() => createSecretBox([oldKey]).open(sealedByNew, place)).toThrow(/not configured/)
  })

  test('a secret box does not open for another place', () => {
    const box = createSecretBox([oldKey])
    const sealed = box.seal(secret, providerKeyPlace('a', 'b-c'))
    for (const other of [providerKeyPlace('a', 'b'), providerKeyPlace('a-b', 'c'), providerKeyPlace('b-c', 'a')]) {
      expect(() => box.open(sealed, other)).toThrow(SecretUnreadable)
    }
  })

  test('a secret box notices a change of any byte', () => {
    const box = createSecretBox([oldKey])
    const sealed = box.seal(secret, place)
    for (let index = 0; index < sealed.length; index++) {
      const changed = Uint8Array.from(sealed, (byte, at) => (at === index ? byte ^ 1 : byte))
      expect(() => box.open(changed, place)).toThrow(SecretUnreadable)
    }
  })

  test('a secret box opens no rubbish', () => {
    const box = createSecretBox([oldKey])
    const sealed = box.seal(secret, place)
    for (const length of [0, 1, 20, 36, sealed.length - 1]) {
      expect(() => box.open(sealed.slice(0, length), place)).toThrow(SecretUnreadable)
    }
    fc.assert(
      fc.property(fc.uint8Array(), bytes => {
        expect(() => box.open(bytes, place)).toThrow(SecretUnreadable)
      }),
    )
  })

  test('a secret box opens a view into a larger buffer', () => {
    const box = createSecretBox([oldKey])
    const sealed = box.seal(secret, place)
    const larger = new Uint8Array(sealed.length + 20)
    larger.set(sealed, 10)
    expect(box.open(larger.subarray(10, 10 + sealed.length), place)).toBe(secret)
  })

  test('a secret box says whether the first key sealed a secret', () => {
    const box = createSecretBox([oldKey])
    const sealed = box.seal(secret, place)
    expect(box.isCurrent(sealed)).toBe(true)
    expect(createSecretBox([newKey, oldKey]).isCurrent(sealed)).toBe(false)
    expect(createSecretBox([oldKey, newKey]).isCurrent(sealed)).toBe(true)
    for (const rubbish of [new Uint8Array(), sealed.slice(0, 5), sealed.map((byte, at) => (at === 0 ? 2 : byte))]) {
      expect(box.isCurrent(rubbish)).toBe(false)
    }
  })

  test('a secret box goes on with other keys when they are replaced, and keeps its own when those are none', () => {
    const box = createSecretBox([oldKey])
    const sealed = box.seal(secret, place)
    box.replaceKeys([newKey, oldKey])
    expect(box.keyCount).toBe(2)
    expect(box.isCurrent(box.seal(secret, place))).toBe(true)
    expect(box.isCurrent(sealed)).toBe(false)
    expect(box.open(sealed, place)).toBe(secret)
    box.replaceKeys([newKey])
    expect(() => box.open(sealed, place)).toThrow(/not configured/)
    for (const keys of [[], [randomBytes(31)]]) expect(() => box.replaceKeys(keys)).toThrow(RangeError)
    expect(createSecretBox([newKey]).isCurrent(box.seal(secret, place))).toBe(true)
  })

  test('a secret box takes keys of 32 bytes and at least one', () => {
    expect(() => createSecretBox([])).toThrow(/needs a key/)
    expect(() => createSecretBox([randomBytes(16)])).toThrow('an encryption key has 32 bytes, not 16')
  })
})

describe('an API key', () => {
  test('an API key is made as it is read', () => {
    const made = generateApiKey()
    expect(parseApiKey(`${made.id}-${made.secret}`)).toEqual(made)
  })

  test('an API key uses every character, each about as often as the others', () => {
    const counts = new Map<string, number>()
    for (let index = 0; index < 1000; index++) {
      for (const character of generateApiKey().secret) counts.set(character, (counts.get(character) ?? 0) + 1)
    }
    // 22,000 characters over 62: 355 each; eight standard deviations (19) are never met by chance.
    expect(counts.size).toBe(62)
    expect(Math.min(...counts.values())).toBeGreaterThan(200)
    expect(Math.max(...counts.values())).toBeLessThan(510)
  })
})
