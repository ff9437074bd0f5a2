import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  type BodyEdit,
  JsonListEdit,
  StreamListEdit,
  TooLarge,
  Unreadable,
} from '../../../../client/bridge/mcp/tool-list.js'

const offers = (name: string) => !name.startsWith('x')

/** Runs a body through an edit in pieces that end at the given places. */
function edited(edit: BodyEdit, body: Buffer, cuts: readonly number[]): string {
  const places = [...new Set(cuts.map(cut => cut % (body.length + 1)))].sort((a, b) => a - b)
  const passed: Buffer[] = []
  let from = 0
  for (const to of [...places, body.length]) {
    passed.push(edit.push(body.subarray(from, to)))
    from = to
  }
  return Buffer.concat([...passed, edit.end()]).toString()
}

const name = fc.constantFrom('a', 'x', 'xü', 'b\u2028c', '"x', 'a "tools": x')
const tool = fc.oneof(fc.record({ name, more: fc.json() }), fc.json(), fc.constant(null))
const message = fc.oneof(
  fc.record({ id: fc.nat(), result: fc.record({ tools: fc.array(tool), nextCursor: name }) }),
  fc.record({ id: fc.nat(), result: fc.record({ content: fc.array(tool) }) }),
  fc.record({ method: fc.constant('notifications/tools/list_changed') }),
)
type Message = { result?: { tools?: unknown[] } }

function kept(value: unknown): unknown {
  const { result } = value as Message // of the arbitrary above
  if (!result?.tools) return value
  const tools = result.tools.filter(one => !isHidden(one))
  return { ...(value as object), result: { ...result, tools } }
}

function isHidden(one: unknown): boolean {
  const given: unknown = typeof one === 'object' && one !== null ? Reflect.get(one, 'name') : undefined
  return typeof given === 'string' && given.startsWith('x')
}

test('a list in JSON loses the hidden tools and nothing else, wherever its bytes are cut', () => {
  fc.assert(
    fc.property(message, fc.boolean(), fc.array(fc.nat()), (value, isBatch, cuts) => {
      const body = Buffer.from(JSON.stringify(isBatch ? [value, value] : value))
      const text = edited(new JsonListEdit(offers, 1e6), body, cuts)
      expect(text).toBe(JSON.stringify(isBatch ? [kept(value), kept(value)] : kept(value)))
    }),
    { numRuns: 100 },
  )
})

test('a stream loses the hidden tools of its lists and nothing else, wherever its bytes are cut', () => {
  const lineEnd = fc.constantFrom('\n', '\r\n', '\r')
  fc.assert(
    fc.property(fc.array(fc.tuple(message, lineEnd)), fc.array(fc.nat(), { maxLength: 20 }), (events, cuts) => {
      const written = (change: (value: unknown) => unknown) =>
        events.map(([value, end]) => {
          const changed = JSON.stringify(change(value))
          // An edited line ends with a line feed.
          const dataEnd = changed === JSON.stringify(value) ? end : '\n'
          return `: sign of life${end}id: 1${end}data: ${changed}${dataEnd}${end}`
        })
      const text = edited(new StreamListEdit(offers, 1e6), Buffer.from(written(value => value).join('')), cuts)
      expect(text).toBe(written(kept).join(''))
    }),
    { numRuns: 150 },
  )
})

test('a comment between events passes at once, and an event with its blank line', () => {
  const edit = new StreamListEdit(offers, 1e6)
  const push = (text: string) => edit.push(Buffer.from(text)).toString()
  expect(push(': ping\n')).toBe(': ping\n')
  expect(push('data: {"id":1,\n')).toBe('')
  expect(push('data: "result":{"tools":[{"name":"x"},{"name":"a"}]}}\n')).toBe('')
  expect(push('\n')).toBe('data: {"id":1,\ndata: "result":{"tools":[{"name":"a"}]}}\n\n')
  expect(push('data: rest')).toBe('')
  expect(edit.end().toString()).toBe('data: rest')
})

test.each([
  ['JSON', new JsonListEdit(offers, 9)],
  ['an event', new StreamListEdit(offers, 9)],
])('%s above the bound is not held', (_, edit) => {
  edit.push(Buffer.from('data: ok'))
  expect(() => edit.push(Buffer.from('xx'))).toThrow(TooLarge)
})

const hidden = '{"id":1,"result":{"tools":[{"name":"x"},{"name":"a"}]}}'
const shown = '{"id":1,"result":{"tools":[{"name":"a"}]}}'
const escaped = hidden.replace('tools', 't\\u006fols')
const inJson = (text: string) => edited(new JsonListEdit(offers, 1e6), Buffer.from(text), [])
const inStream = (text: string) => edited(new StreamListEdit(offers, 1e6), Buffer.from(`data: ${text}\n\n`), [])

test.each([
  ['behind a byte order mark', `\ufeff${hidden}`, shown],
  ['under an escaped name', escaped, shown.replace('tools', 't\\u006fols')],
])('a list %s loses the hidden tools', (_, text, expected) => {
  expect(inJson(text)).toBe(expected)
  expect(inStream(text)).toBe(`data: ${expected}\n\n`)
})

test.each([
  ['with text behind it', `${hidden}x`],
  ['that breaks off', hidden.slice(0, -1)],
  ['with two byte order marks', `\ufeff\ufeff${hidden}`],
  ['with a comment', `/**/${hidden}`],
  ['with NaN', hidden.replace('1', 'NaN')],
  ['in UTF-16', `${hidden.replaceAll(/./g, '$&\0')}"tools"`],
])('a list %s does not pass', (_, text) => {
  expect(() => inJson(text)).toThrow(Unreadable)
  expect(() => inStream(text)).toThrow(Unreadable)
})

test('an empty body is no list, and an event without tools need not be JSON', () => {
  expect(inJson('')).toBe('')
  expect(inStream('hello')).toBe('data: hello\n\n')
})
