import { describe, expect, test } from 'vitest'
import { arrayText, JsonEdits, setMember } from '../../../../client/bridge/wire/json-edit.js'
import { JsonNode } from '../../../../client/bridge/wire/json-node.js'
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

/** JSON in the ways that it can be written: blanks, escapes and members of one name. */
const blank = fc.constantFrom('', '', ' ', '\n', '\t', '\r\n  ')
const escaped = (text: string) =>
  JSON.stringify(text).replace(/[a-z]/g, letter => `\\u00${letter.charCodeAt(0).toString(16)}`)
const long = fc.array(fc.constantFrom('"', '\\', 'x'.repeat(60), '}'), { maxLength: 8 }).map(parts => parts.join(''))
const quoted = fc
  .tuple(fc.oneof(long, fc.constantFrom('a', 'b', '__proto__', '', '\\', '"', '[{'), fc.string()), fc.boolean())
  .map(([text, isEscaped]) => (isEscaped ? escaped(text) : JSON.stringify(text)))
const written = fc.letrec<{ value: string; array: string; object: string; scalar: string }>(tie => ({
  value: fc.oneof({ depthSize: 'small', withCrossShrink: true }, tie('scalar'), tie('array'), tie('object')),
  scalar: fc.oneof(quoted, fc.constantFrom('null', 'true', '-0.0e+7', '12345678901234567890', '""')),
  array: fc
    .array(fc.tuple(blank, tie('value'), blank), { maxLength: 5 })
    .chain(items => blank.map(only => `[${items.map(item => item.join('')).join(',') || only}]`)),
  object: fc
    .array(fc.tuple(blank, quoted, blank, fc.constant(':'), blank, tie('value'), blank), { maxLength: 5 })
    .chain(items => blank.map(only => `{${items.map(item => item.join('')).join(',') || only}}`)),
}))

test('members and elements are those of JSON.parse, as they were written', () => {
  const same = (node: JsonNode, value: unknown) => {
    expect(JSON.parse(node.bytes.toString())).toEqual(value)
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    const members = new Map(isObject ? Object.entries(value) : [])
    expect(new Set(node.members.keys())).toEqual(new Set(members.keys()))
    for (const [name, member] of members) same(node.member(name) ?? node, member)
    const elements: unknown[] = Array.isArray(value) ? value : []
    expect(node.elements).toHaveLength(elements.length)
    for (const [index, element] of elements.entries()) same(node.elements[index] ?? node, element)
  }
  fc.assert(
    fc.property(blank, written.value, blank, (before, value, behind) => {
      const text = `${before}${value}${behind}`
      same(JsonNode.of(Buffer.from(text)), JSON.parse(text))
    }),
  )
})

test('insertions and replacements in an array do what they do to the parsed array', () => {
  const change = fc.record({
    index: fc.nat(6),
    values: fc.array(fc.nat(), { minLength: 1, maxLength: 3 }),
    isReplacement: fc.boolean(),
  })
  fc.assert(
    fc.property(written.array, blank, fc.array(change, { maxLength: 5 }), (array, space, changes) => {
      const text = `${space}{"x":1, "list":${array}${space},"y":${array}}`
      const before: { list: unknown[]; y: unknown[] } = JSON.parse(text)
      const root = JsonNode.of(Buffer.from(text))
      const list = root.member('list') ?? root
      const edits = new JsonEdits(root)
      const inserted = new Map<number, number[]>()
      const replaced = new Map<number, number[]>()
      for (const { index, values, isReplacement } of changes) {
        const element = list.elements[index]
        const [first = 0, ...more] = values
        if (isReplacement && element && !replaced.has(index)) {
          edits.replace(element, String(first), ...more.map(String))
          replaced.set(index, values)
        } else {
          edits.insert(list, index, ...values.map(value => [String(value).slice(0, 1), String(value).slice(1)]))
          const at = Math.min(index, before.list.length)
          inserted.set(at, [...(inserted.get(at) ?? []), ...values])
        }
      }
      const after = JSON.parse(Buffer.concat(edits.pieces()).toString())
      const expected = before.list.flatMap((value, at) => [
        ...(inserted.get(at) ?? []),
        ...(replaced.get(at) ?? [value]),
      ])
      expect(after).toEqual({ ...before, list: [...expected, ...(inserted.get(before.list.length) ?? [])] })
    }),
  )
})

test('several members are set, in new objects and known ones', () => {
  const edits = new JsonEdits(JsonNode.of(Buffer.from('{ "a": {}, "b": 1 }')))
  edits.set(['a', 'x'], '1')
  edits.set(['a', 'y'], arrayText(['1', ['"', Buffer.from('é'), '"']]))
  edits.set(['c', 'd'], 'null')
  edits.set(['e'], '[]')
  edits.set(['b'], '2')
  expect(Buffer.concat(edits.pieces()).toString()).toBe('{ "a": {"x":1,"y":[1,"é"]}, "b": 2,"c":{"d":null},"e":[] }')
})

test('bytes outside of the changes share the memory of the text', () => {
  const body = Buffer.from('{"list":[1,2,3],"rest":true}')
  const edits = new JsonEdits(JsonNode.of(body))
  edits.insert(JsonNode.of(body).at('list') ?? JsonNode.of(body), 1, '9')
  const pieces = edits.pieces()
  expect(pieces.map(String)).toEqual(['{"list":[1,', '9,', '2,3],"rest":true}'])
  expect([pieces[0], pieces[2]].map(piece => piece?.buffer)).toEqual([body.buffer, body.buffer])
})

test('a copy has the changes so far, and leaves the original as it is', () => {
  const edits = new JsonEdits(JsonNode.of(Buffer.from('{}')))
  edits.set(['a'], '1')
  const copy = edits.copy()
  copy.set(['b'], '2')
  expect([edits, copy].map(one => Buffer.concat(one.pieces()).toString())).toEqual(['{"a":1}', '{"a":1,"b":2}'])
})
