import { expect, test } from 'vitest'
import { credentialHint } from '../../../shared/values/credential-hint.js'
import { fc } from '../../fixtures/random.js'

test.each([
  ['sk-ant-api03-0123456789-wxyz', 'sk-a…wxyz'],
  ['123456789012', '12…12'],
  ['123456789', '12…9'],
  ['0123', '0…'],
  ['123', '1…'],
  ['12', '…'],
  ['', '…'],
])('the hint of %j is %j', (credential, hint) => expect(credentialHint(credential)).toBe(hint))

test('a hint shows at most a third of the characters', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), credential => {
      expect([...credentialHint(credential)].length - 1).toBeLessThanOrEqual([...credential].length / 3)
    }),
  )
})
