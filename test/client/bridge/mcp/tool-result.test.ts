import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readToolResult } from '../../../../client/bridge/mcp/tool-result.js'
import { toolLimits } from '../../../../shared/contract/limits.js'
import { utf8Bytes } from '../../../../shared/values/text.js'

const png = Buffer.from('\x89PNG\r\n\x1a\n and more bytes!', 'latin1').toString('base64')
const jpeg = Buffer.from('\xff\xd8\xff\xe0 and more bytes', 'latin1').toString('base64')
const text = (value: string) => ({ type: 'text', text: value })
const partsOf = (content: unknown, more: object = {}) => readToolResult({ content, ...more }).parts

test.each<[string, unknown, unknown[]]>([
  ['text is text', [text('a'), text('b')], [text('a'), text('b')]],
  [
    'a PNG is an image',
    [{ type: 'image', data: png, mimeType: 'image/png' }],
    [{ type: 'image', mimeType: 'image/png', base64: png }],
  ],
  [
    'base64 in lines is one',
    [{ type: 'image', data: `${png.slice(0, 8)}\n${png.slice(8)}\n`, mimeType: 'image/png' }],
    [{ type: 'image', mimeType: 'image/png', base64: png }],
  ],
  [
    'an image has the type of its bytes',
    [{ type: 'image', data: jpeg, mimeType: 'image/png' }],
    [{ type: 'image', mimeType: 'image/jpeg', base64: jpeg }],
  ],
  [
    'an image that is none is a note',
    [{ type: 'image', data: 'aGVsbG8h', mimeType: 'image/png' }],
    [text('[an image of type image/png cannot be shown]')],
  ],
  ['an image without data is a note', [{ type: 'image', data: 7 }], [text('[an image cannot be shown]')]],
  [
    'SVG is a note',
    [{ type: 'image', data: 'PHN2Zy8+', mimeType: 'image/svg+xml' }],
    [text('[an image of type image/svg+xml cannot be shown]')],
  ],
  [
    'audio is a note',
    [{ type: 'audio', data: png, mimeType: 'audio/wav' }],
    [text('[audio of type audio/wav cannot be shown]')],
  ],
  [
    'a type that lies long is left out',
    [{ type: 'audio', mimeType: `audio/${'x'.repeat(200)}` }],
    [text('[audio cannot be shown]')],
  ],
  ['a resource is its text', [{ type: 'resource', resource: { uri: 'file:///a', text: 'a' } }], [text('a')]],
  [
    'an image resource is an image',
    [{ type: 'resource', resource: { uri: 'file:///a', blob: png } }],
    [{ type: 'image', mimeType: 'image/png', base64: png }],
  ],
  [
    'a binary resource is a note',
    [{ type: 'resource', resource: { uri: 'file:///a', blob: 'AAAA', mimeType: 'application/zip' } }],
    [text('[binary resource file:///a of type application/zip cannot be shown]')],
  ],
  ['a resource without content is a note', [{ type: 'resource' }], [text('[resource has no content]')]],
  ['a link is its name and URI', [{ type: 'resource_link', uri: 'file:///a', name: 'a' }], [text('a: file:///a')]],
  ['a link without a name is its URI', [{ type: 'resource_link', uri: 'file:///a' }], [text('file:///a')]],
  [
    'text that is a number is a note',
    [{ type: 'text', text: 7 }],
    [text('[content of an unknown kind cannot be shown]')],
  ],
  [
    'an unknown kind is a note',
    [{ type: 'video' }, 7, null],
    Array(3).fill(text('[content of an unknown kind cannot be shown]')),
  ],
  ['no content is a note', [], [text('[the tool returned no content]')]],
  ['empty text is a note', [text('')], [text('[the tool returned no content]')]],
  ['content that is no list is a note', 'text', [text('[the tool returned no content]')]],
])('%s', (_case, content, expected) => {
  expect(partsOf(content)).toEqual(expected)
})

test('structured content stands for text, and only for text', () => {
  expect(partsOf([], { structuredContent: { a: [1] } })).toEqual([text('{"a":[1]}')])
  expect(partsOf([text('a')], { structuredContent: { a: 1 } })).toEqual([text('a')])
  const image = { type: 'image', data: png, mimeType: 'image/png' }
  expect(partsOf([image], { structuredContent: null }).map(({ type }) => type)).toEqual(['image', 'text'])
})

test('an error keeps its text and says so', () => {
  const result = readToolResult({ content: [text('no such page')], isError: true })
  expect(result).toEqual({ isError: true, parts: [text('no such page')], error: 'no such page' })
  expect(readToolResult({ content: [text('a')], isError: 'true' })).toMatchObject({ isError: false })
})

test('text is cut at 256 KiB, between characters, with a note of the rest', () => {
  const long = `x${'ö'.repeat(toolLimits.maxResultBytes)}`
  const parts = partsOf([text(long), text('more')])
  expect(parts).toHaveLength(2)
  expect(parts[0]).toEqual(text(`x${'ö'.repeat((toolLimits.maxResultBytes - 2) / 2)}`))
  expect(parts[1]).toEqual(text('[the result is cut: 262,150 bytes more]'))
})

test('images above the bound, all together, are notes with their size', () => {
  const half = png + 'A'.repeat(toolLimits.maxImageBytes / 2 - png.length)
  const image = { type: 'image', data: half, mimeType: 'image/png' }
  const parts = partsOf([image, image, { ...image, data: png }])
  expect(parts.map(({ type }) => type)).toEqual(['image', 'image', 'text'])
  expect(parts[2]).toEqual(text('[an image of 32 bytes is left out; the images of a result may have 1,048,576 bytes]'))
})

test('a thousand parts are a hundred and a note', () => {
  const parts = partsOf(Array.from({ length: 1_000 }, (_, index) => text(`${index}`)))
  expect(parts).toHaveLength(101)
  expect(parts.at(-1)).toEqual(text('[the result is cut: 900 parts more]'))
})

test('any result is read, within the bounds, and never empty', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.array(fc.jsonValue()), (any, content) => {
      for (const result of [any, { content: any }, { content, structuredContent: any, isError: any }]) {
        const { parts } = readToolResult(result)
        expect(parts.length).toBeGreaterThan(0)
        const bytes = parts.reduce((sum, part) => sum + (part.type === 'text' ? utf8Bytes(part.text) : 0), 0)
        expect(bytes).toBeLessThanOrEqual(toolLimits.maxResultBytes + 200)
      }
    }),
  )
})
