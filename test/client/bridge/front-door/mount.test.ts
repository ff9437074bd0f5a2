import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { apiPath, mayLeaveFolder, parseMount } from '../../../../client/bridge/front-door/mount.js'
import { anthropic } from '../../../../client/bridge/providers/anthropic.js'
import { openai } from '../../../../client/bridge/providers/openai.js'

describe('a path below a mount', () => {
  test.each([
    ['/bridge/a/v1/messages', 'a', '/v1/messages', ''],
    ['/bridge/a//v1///messages/?x=//y', 'a', '/v1/messages', '?x=//y'],
    ['//bridge//a//v1/messages', 'a', '/v1/messages', ''],
    ['/bridge/a', 'a', '', ''],
    ['/bridge/a/', 'a', '', ''],
    ['/bridge/a?x', 'a', '', '?x'],
    ['/bridge/', '', '', ''],
    ['/bridged/a/v1', '', '', ''],
    ['/bridge/a/models/x%2F%2Fy', 'a', '/models/x%2F%2Fy', ''],
  ])('%s belongs to provider %j with path %j and query %j', (url, providerName, path, query) => {
    expect(parseMount(url)).toEqual({ providerName, path, query })
  })

  test.each([
    ['/v1/messages', '/v1/messages', '/messages'],
    ['/messages', '/v1/messages', '/messages'],
    ['/v1/v1/messages', '/v1/messages', '/messages'],
    ['/v1/v1/v1/messages', '/v1/v1/messages', '/v1/messages'],
    ['/v10/messages', '/v1/v10/messages', '/v10/messages'],
    ['', '/v1', ''],
    ['/v1', '/v1', ''],
    ['/models/v1/x', '/v1/models/v1/x', '/models/v1/x'],
  ])('%j is one path for an API, with any base URL of the client', (path, below, belowV1) => {
    expect([apiPath(path, anthropic.mountPath), apiPath(path, openai.mountPath)]).toEqual([below, belowV1])
  })
})

describe('a model call', () => {
  const calls = [
    [openai, '/responses', '/compact'],
    [openai, '', '/responses'],
    [openai, '/chat', '/completions'],
    [openai, '', '/embeddings'],
    [anthropic, '/v1', '/messages'],
  ] as const
  const writings: [string, (name: string) => string][] = [
    ['an escaped letter', name => `/%${name.charCodeAt(1).toString(16)}${name.slice(2)}`],
    ['an escape of an escape', name => `/%25${name.charCodeAt(1).toString(16)}${name.slice(2)}`],
    ['an escaped slash', name => `%2f${name.slice(1)}`],
    ['an escaped backslash', name => `%5c${name.slice(1)}`],
    ['parameters', name => `${name};x=1`],
    ['parameters of their own', name => `/;a=1${name}`],
    ['parameters of the segment before', name => `;a=1${name}`],
    ['escaped parameters', name => `${name}%3bx`],
    ['an escaped space', name => `${name}%20`],
    ['an escaped NUL', name => `${name}%00`],
    ['an escaped query', name => `${name}%3fx`],
    ['a fragment', name => `${name}#x`],
    ['an escaped slash at the end', name => `${name}%2f`],
    ['capital letters', name => name.toUpperCase()],
    ['an extension', name => `${name}.json`],
    ['a query before a known path', name => `${name}%3f/cancel`],
    ['parameters before a known path', name => `${name};/cancel`],
  ]
  test.each(
    calls.flatMap(([api, before, name]) => writings.map(([what, write]) => [before + write(name), what, api] as const)),
  )('at %s (%s) never passes without a record', (path, _, api) => {
    for (const method of ['POST', 'PUT', 'PATCH', 'QUERY']) {
      const { path: parsed } = parseMount(`/bridge/a${path}`)
      expect(api.route(method, apiPath(parsed, api.mountPath)), method).not.toBe('passthrough')
    }
  })

  test.each([
    ['GET', '/responses/resp_1', true],
    ['HEAD', '/responses/resp_1', true],
    ['DELETE', '/responses/resp_1', true],
    ['POST', '/responses/resp_1/cancel', true],
    ['GET', '/responses/resp_1/input_items', true],
    ['GET', '/responses/resp_1/a%2Fb/new', true],
    ['POST', '/responses/input_tokens', true],
    ['POST', '/responses/resp_1', false],
    ['POST', '/responses/resp_1/retry', false],
    ['PATCH', '/responses/resp_1', false],
  ])('%s %s is none, and passes: %s', (method, path, passes) => {
    expect(openai.route(method, path)).toBe(passes ? 'passthrough' : undefined)
  })
})

/** Ways in which servers have taken a segment for one of dots; sources: RFC 3986, Tomcat, IIS, decoders of UTF-8. */
const dot = fc.constantFrom(
  '.',
  '%2e',
  '%2E',
  '%252e',
  '%25252E',
  '%2525252e',
  '%c0%ae',
  '%C0%AE',
  '%e0%80%ae',
  '%u002e',
)
const slash = fc.constantFrom('/', '%2f', '%2F', '%5c', '\\', '%252f', '%255C', '%c0%af')
const parameters = fc.constantFrom(
  '',
  ';',
  ';x',
  ';x=1',
  '%3b',
  '%253Bx=y',
  '%20',
  '%00',
  '%09',
  '%3f',
  '%23x',
  '%3Fx=1',
)
const name = fc.stringMatching(/^[A-Za-z0-9_-]{0,12}$/)
const segment = fc
  .stringMatching(/^[A-Za-z0-9._~:%-]{0,16}$/)
  .filter(text => !/^[.%]/.test(text) && !text.includes('%'))

describe('a path that may leave its folder', () => {
  test('a segment of dots in any writing, with any parameters, is found', () => {
    const dots = fc.array(dot, { minLength: 1, maxLength: 2 }).map(parts => parts.join(''))
    fc.assert(
      fc.property(name, slash, dots, parameters, slash, name, (before, left, dots, parameters, right, after) => {
        expect(mayLeaveFolder(`/v1/models/${before}${left}${dots}${parameters}${right}${after}`)).toBe(true)
        expect(mayLeaveFolder(`/v1/models${left}${dots}${parameters}`)).toBe(true)
      }),
    )
  })

  test('names with dots, and escapes of other characters, are no segments of dots', () => {
    fc.assert(
      fc.property(fc.array(segment, { maxLength: 6 }), segments => {
        expect(mayLeaveFolder(`/v1/models/${segments.join('/')}`)).toBe(false)
      }),
    )
    for (const id of [
      'gpt-4.1',
      'a..b',
      'ft:gpt-4o:x::1',
      'a%2Fb%20c',
      '...',
      '%E2%80%A6',
      '%',
      '100%',
      '%zz',
      'x;v=..',
    ])
      expect([id, mayLeaveFolder(`/v1/models/${id}`)]).toEqual([id, false])
  })

  test('a path of many escapes is judged in a bounded number of steps', () => {
    const startedAt = performance.now()
    expect(mayLeaveFolder(`/v1/models/%${'25'.repeat(8_000)}2e`)).toBe(true)
    expect(mayLeaveFolder(`/v1/models/${'%25'.repeat(5_000)}`)).toBe(false)
    expect(performance.now() - startedAt).toBeLessThan(1_000)
  })
})
