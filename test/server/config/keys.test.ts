import { describe, expect, test } from 'vitest'
import { parseEncryptionKeys } from '../../../server/config/keys.js'

const hexKey = '00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff'
const base64Key = Buffer.alloc(32, 7).toString('base64')

describe('parseEncryptionKeys', () => {
  test('parseEncryptionKeys takes hex and base64, the current key first', () => {
    expect(parseEncryptionKeys(`${hexKey}, ${base64Key}`, 'X')).toEqual([
      new Uint8Array(Buffer.from(hexKey, 'hex')),
      new Uint8Array(32).fill(7),
    ])
  })

  test.each([
    ['short', 'key 1 must be 32 bytes'],
    [`${hexKey},`, 'key 2 must be 32 bytes'],
    [`${hexKey}ff`, 'key 1 must be 32 bytes'],
    [`${base64Key.slice(0, -4)}!!!!`, 'key 1 must be 32 bytes'],
    [`${hexKey},${hexKey},${hexKey}`, 'must be one key or two'],
  ])('%s is rejected without being shown', (text, message) => {
    expect(() => parseEncryptionKeys(text, 'BRIDGE_ENCRYPTION_KEY')).toThrow(
      expect.objectContaining({
        reason: 'config_invalid',
        message: expect.stringMatching(new RegExp(`^BRIDGE_ENCRYPTION_KEY: ${message}(?!.*${hexKey})`)),
      }),
    )
  })
})
