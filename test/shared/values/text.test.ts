import fc from 'fast-check'
import { test } from 'vitest'
import { utf8Bytes } from '../../../shared/values/text.js'

const anyText = fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map(unit => String.fromCharCode(unit)) })

test('the bytes of a text are those of its UTF-8, a lone surrogate counting as U+FFFD', () => {
  const texts = fc.oneof(
    anyText,
    fc.string({ unit: 'binary' }),
    fc.constantFrom('\ud800', '\udc00\ud800', '𝄞\ud834', 'é€'),
  )
  fc.assert(fc.property(texts, text => utf8Bytes(text) === Buffer.byteLength(text)))
})
