import { describe, expect, test } from 'vitest'
import { setMember } from '../../../../client/bridge/wire/json-patch.js'
import { fc } from '../../../fixtures/random.js'

const patch = (text: string) => Buffer.concat(setMember(Buffer.from(text), ['options', 'usage'], true)).toString()

describe('one member is set, every other byte stays', () => {
  test.each([
    ['{}', '{"options":{"usage":true}}'],
    [' { } ', ' {"options":{"usage":true} } '],
    ['{"a":1}', '{"a":1,"options":{"usage":true}}'],
    ['\r\n{\n  "a" : 1.0e2\n}\n', '\r\n{\n  "a" : 1.0e2,"options":{"usage":true}\n}\n'],
    ['{"options":{}}', '{"options":{"usage":true}}'],
    ['{"options":{"x":1}, "b":2}', '{"options":{"x":1,"usage":true}, "b":2}'],
    ['{"options": { "usage" : false , "x":1}}', '{"options": { "usage" : true , "x":1}}'],
    ['{"options":{"usage":{"deep":[1,"]}"]}}}', '{"options":{"usage":true}}'],
    ['{"options":null,"a":"}"}', '{"options":{"usage":true},"a":"}"}'],
    ['{"options":[1]}', '{"options":{"usage":true}}'],
    ['{"opt\\u0069ons":{"us\\u0061ge":0}}', '{"opt\\u0069ons":{"us\\u0061ge":true}}'],
    ['{"options":{"usage":1},"options":{"usage":2}}', '{"options":{"usage":1},"options":{"usage":true}}'],
    ['{"a":"\\\\","b":"\\"options\\":{"}', '{"a":"\\\\","b":"\\"options\\":{","options":{"usage":true}}'],
    ['{"a":{"options":{"usage":1}}}', '{"a":{"options":{"usage":1}},"options":{"usage":true}}'],
    [
      '{"big":12345678901234567890,"a":"\\ud83c"}',
      '{"big":12345678901234567890,"a":"\\ud83c","options":{"usage":true}}',
    ],
  ])('%s', (text, patched) => {
    expect(patch(text)).toBe(patched)
  })

  test('bytes that are not UTF-8 stay', () => {
    const body = Buffer.from([...Buffer.from('{"a":"'), 0xff, 0x80, ...Buffer.from('"}')])
    const patched = Buffer.concat(setMember(body, ['b'], 1))
    expect(patched.equals(Buffer.concat([body.subarray(0, -1), Buffer.from(',"b":1}')]))).toBe(true)
  })

  test('the pieces of the body share its memory', () => {
    const body = Buffer.from('{"options":{},"a":1}')
    const [before, , after] = setMember(body, ['options', 'usage'], true)
    expect([before, after].map(piece => piece?.buffer)).toEqual([body.buffer, body.buffer])
    expect([before, after].map(String)).toEqual(['{"options":{', '},"a":1}'])
  })

  test('a million nested arrays can be skipped', () => {
    const deep = '['.repeat(1_000_000) + ']'.repeat(1_000_000)
    expect(patch(`{"a":${deep}}`)).toBe(`{"a":${deep},"options":{"usage":true}}`)
  })
})

test('in any object and layout the member is set and all other members stay', () => {
  const layouts = fc.constantFrom(undefined, 2, '\t', '\r\n ')
  const objects = fc.dictionary(
    fc.oneof(fc.constantFrom('options', 'usage', '__proto__', ''), fc.string()),
    fc.jsonValue(),
  )
  fc.assert(
    fc.property(objects, layouts, (object, layout) => {
      const text = JSON.stringify(object, undefined, layout)
      const parsed: Record<string, unknown> = JSON.parse(patch(text))
      const { options: before, ...others } = JSON.parse(text) as Record<string, unknown> // an object
      const { options: after, ...othersAfter } = parsed
      expect(othersAfter).toEqual(others)
      const kept = typeof before === 'object' && before !== null && !Array.isArray(before) ? before : {}
      expect(after).toEqual({ ...kept, usage: true })
    }),
  )
})
