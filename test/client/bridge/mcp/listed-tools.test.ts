import { expect, test } from 'vitest'
import { readToolPage } from '../../../../client/bridge/mcp/listed-tools.js'

const object = { type: 'object', properties: {} }

test('a tool keeps its whole schema, definitions and all', () => {
  const inputSchema = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    properties: { page: { $ref: '#/$defs/page' } },
    $defs: { page: { type: 'string', pattern: '^[' } },
    required: ['page'],
    additionalProperties: false,
  }
  const { tools } = readToolPage({ tools: [{ name: 'read', description: 'reads', inputSchema, outputSchema: 7 }] })
  expect(JSON.stringify(tools)).toBe(JSON.stringify([{ bareName: 'read', description: 'reads', inputSchema }]))
})

test.each([
  ['no schema', undefined, object],
  ['a schema without a type', { properties: { a: {} } }, { type: 'object', properties: { a: {} } }],
  ['a schema of another type', { type: ['null', 'object'] }, object],
  [
    'a schema without properties',
    { type: 'object', oneOf: [{ required: ['a'] }] },
    { ...object, oneOf: [{ required: ['a'] }] },
  ],
  ['properties that are none', { type: 'object', properties: [] }, object],
])('a tool with %s takes an object', (_case, inputSchema, expected) => {
  const { tools } = readToolPage({ tools: [{ name: 'x', inputSchema }] })
  expect(tools).toEqual([{ bareName: 'x', description: '', inputSchema: expected }])
})

let deep: unknown = {}
for (let level = 0; level < 100; level++) deep = { deep }

test.each([
  ['text', 'tool'],
  ['null', null],
  ['a tool without a name', { inputSchema: object }],
  ['a name that is a number', { name: 1, inputSchema: object }],
  ['an empty name', { name: '', inputSchema: object }],
  ['a name of 2,000 characters', { name: 'x'.repeat(2_000), inputSchema: object }],
  ['a schema that is a list', { name: 'x', inputSchema: [] }],
  ['a schema that is text', { name: 'x', inputSchema: 'object' }],
  ['a schema of 100 KiB', { name: 'x', inputSchema: { ...object, text: 'x'.repeat(102_400) } }],
  ['a schema of 100 levels', { name: 'x', inputSchema: { ...object, deep } }],
])('%s is left out, and hides no other tool', (_case, bad) => {
  const good = { name: 'good', description: 'is good', inputSchema: object }
  const { tools, leftOut } = readToolPage({ tools: [bad, good, bad] })
  expect(tools.map(({ bareName }) => bareName)).toEqual(['good'])
  expect(leftOut).toBe(2)
})

test.each([undefined, null, 'text', [], {}, { tools: {} }, { tools: 'x', nextCursor: 1 }, { nextCursor: '' }])(
  'the result %j has no tools and no further page',
  result => {
    expect(readToolPage(result)).toEqual({ tools: [], leftOut: 0, nextCursor: undefined })
  },
)

test('a long description is cut, a missing one is the title, text that is none becomes text', () => {
  const { tools } = readToolPage({
    tools: [
      { name: 'long', description: 'x'.repeat(20_000) },
      { name: 'titled', title: 'Title', description: '' },
      { name: 'odd', description: 7, title: 'a\0\ud800' },
    ],
  })
  expect(tools.map(({ description }) => description)).toEqual(['x'.repeat(16_384), 'Title', 'a\ufffd\ufffd'])
})
