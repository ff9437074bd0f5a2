import { describe, expect, test } from 'vitest'
import type { z } from 'zod'
import { checkInput } from '../../../server/services/check-input.js'
import { apiKeysExpireInput } from '../../../shared/contract/admin/api-keys.js'
import { providersUpsertInput } from '../../../shared/contract/admin/providers.js'
import { usersCreateInput, usersDeleteInput } from '../../../shared/contract/admin/users.js'
import { recordSchemas } from '../../../shared/contract/recorder.js'

function messageFor(schema: z.ZodType, input: unknown): string {
  try {
    checkInput(schema, input)
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
  throw new Error('the input was taken')
}

const id = '019a0000-0000-7000-8000-000000000001'
const tokens = {
  id,
  interceptionId: id,
  msgId: 'm',
  inputTokens: 1,
  outputTokens: 2,
  cacheReadInputTokens: 3,
  cacheWriteInputTokens: 4,
  createdAt: new Date(),
}

describe('a message names the path, the rule and what stood there', () => {
  test.each<[string, object, string]>([
    ['a negative count', { inputTokens: -1 }, 'inputTokens: Too small: expected number to be >=0 (got -1)'],
    [
      'a count above 1e12',
      { outputTokens: 1e12 + 1 },
      'outputTokens: Too big: expected number to be <=1000000000000 (got 1000000000001)',
    ],
    ['a fraction', { inputTokens: 1.5 }, 'inputTokens: Invalid input: expected int, received number (got 1.5)'],
    [
      'not a number',
      { inputTokens: '12' },
      'inputTokens: Invalid input: expected number, received string (got a text of length 2)',
    ],
    [
      'a missing field',
      { msgId: undefined },
      'msgId: Invalid input: expected string, received undefined (got undefined)',
    ],
    ['an id that is none', { id: 'x1' }, 'id: Invalid GUID (got "x1")'],
    [
      'an invalid date',
      { createdAt: new Date(Number.NaN) },
      'createdAt: Invalid input: expected date, received Date (got an invalid date)',
    ],
    [
      'a date before 1970',
      { createdAt: new Date(-1) },
      'createdAt: must not lie before 1970 (got 1969-12-31T23:59:59.999Z)',
    ],
    ['metadata that is a list', { metadata: [1] }, 'metadata: metadata is not a JSON object (got a list of 1)'],
    [
      'metadata with a function',
      { metadata: { a: () => {} } },
      'metadata: metadata holds a function, which is not JSON (got an object)',
    ],
    [
      'large metadata',
      { metadata: { a: 'x'.repeat(70_000) } },
      'metadata: metadata is larger than 65,536 bytes (got an object)',
    ],
  ])('%s', (_, change, message) => {
    expect(messageFor(recordSchemas.tokenUsage, { ...tokens, ...change })).toBe(message)
  })

  test('a message names the path, the rule and the value of the whole input, where it is no object', () => {
    for (const input of [undefined, null, 5, 'x', []]) {
      expect(messageFor(recordSchemas.tokenUsage, input)).toMatch(/^input: Invalid input: expected object/)
    }
  })

  test('three at most, and how many more there are', () => {
    const message = messageFor(recordSchemas.tokenUsage, {})
    expect(message.split('; ')).toHaveLength(4)
    expect(message).toMatch(/; and 5 more$/)
  })

  test('a message names the path, the rule and the value of a user given by neither id nor name', () => {
    expect(messageFor(usersDeleteInput, { user: 'not a name' })).toBe(
      `user: must be a user's id or name (got "not a name")`,
    )
  })
})

describe('a message holds neither secrets nor content', () => {
  const mark = 'MARKED'
  test.each<[string, z.ZodType, object]>([
    ['a provider key', providersUpsertInput, { name: 'a', type: 'anthropic', keys: [`${mark} with a space`] }],
    [
      'a provider key that is too long',
      providersUpsertInput,
      { name: 'a', type: 'anthropic', keys: [mark.repeat(500)] },
    ],
    ['credentials in a URL', providersUpsertInput, { name: 'a', type: 'anthropic', baseUrl: `http://u:${mark}@host` }],
    ['an API key as an id', apiKeysExpireInput, { id: `abcdefghij-${mark}0123456789012345` }],
    ['a provider key as a name', usersCreateInput, { username: `sk-ant-${mark}/+` }],
    ['a long token as a name', usersCreateInput, { username: `${mark}/${'a'.repeat(60)}` }],
    ['a prompt', recordSchemas.promptUsage, { prompt: [mark] }],
    ['a hint', recordSchemas.interception, { credentialHint: mark.repeat(100) }],
  ])('%s', (_, schema, input) => {
    expect(messageFor(schema, input)).not.toContain(mark)
  })
})

test('a user name that is a UUID is rejected', () => {
  expect(messageFor(usersCreateInput, { username: id })).toContain('must not be a UUID')
})
