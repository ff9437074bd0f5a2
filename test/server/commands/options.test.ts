import { describe, expect, test } from 'vitest'
import { failureOf, timeOrAge, timeOrDuration, wholeNumber } from '../../../server/commands/options.js'
import { cellText } from '../../../server/commands/output.js'
import { invocation, shellWord } from '../../../server/process/invocation.js'
import { rpcError } from '../../../shared/contract/error-reasons.js'

const now = Date.parse('2030-01-31T12:00:00Z')

describe('timeOrDuration', () => {
  test.each([
    ['90s', '2030-01-31T12:01:30.000Z'],
    ['30m', '2030-01-31T12:30:00.000Z'],
    ['12h', '2030-02-01T00:00:00.000Z'],
    ['30d', '2030-03-02T12:00:00.000Z'],
    ['2w', '2030-02-14T12:00:00.000Z'],
    ['2030-12-31', '2030-12-31T00:00:00.000Z'],
    ['2030-12-31T08:30Z', '2030-12-31T08:30:00.000Z'],
    ['2030-12-31T08:30:00.5+02:00', '2030-12-31T06:30:00.500Z'],
  ])('%s is %s', (text, time) => {
    expect(timeOrDuration(text, now).toISOString()).toBe(time)
  })

  test.each([
    '',
    'soon',
    '30',
    '1y',
    '-1d',
    '2030-02-30',
    '2030-13-01',
    '2030-12-31T08:30',
    '31.12.2030',
    '12345678901d',
  ])('%j is refused', text => {
    expect(() => timeOrDuration(text, now)).toThrow('It must be a duration')
  })
})

test('a duration beyond what a Date holds is refused', () => {
  expect(() => timeOrDuration('999999999w', now)).toThrow('longer than any calendar')
  expect(() => timeOrAge('999999999w', now)).toThrow('longer than any calendar')
})

test('an age counts backwards', () => {
  expect(timeOrAge('12h', now).toISOString()).toBe('2030-01-31T00:00:00.000Z')
  expect(timeOrAge('2030-01-01', now).toISOString()).toBe('2030-01-01T00:00:00.000Z')
})

test.each(['', '1.5', '-1', '1e3', 'x'])('%j is no whole number', text => {
  expect(() => wholeNumber(text)).toThrow('It must be a whole number.')
})

describe('failureOf', () => {
  test('an error of the contract keeps code, reason and message', () => {
    expect(failureOf(rpcError('unknown_row', 'no user x'))).toEqual({
      failure: { code: 'NOT_FOUND', reason: 'unknown_row', message: 'no user x' },
      exitCode: 1,
    })
  })

  test('no server is 3', () => {
    expect(failureOf(rpcError('server_unreachable', 'x')).exitCode).toBe(3)
  })

  test('anything else is a fault of ours', () => {
    const failure = { code: 'INTERNAL_SERVER_ERROR', reason: null, message: 'TypeError: x is not a function' }
    expect(failureOf(new TypeError('x is not a function'))).toEqual({ failure, exitCode: 1 })
  })
})

test.each([
  [null, '-'],
  ['', '-'],
  [new Date(now), '2030-01-31T12:00:00.000Z'],
  [true, 'true'],
  ['ü 漢 🙂', 'ü 漢 🙂'],
  ['a\tb\nc', 'a\\tb\\nc'],
  ['\u001b[2J\u009b1m\u202e', '\\u001b[2J\\u009b1m\\u202e'],
  [{ a: '\u001b' }, '{"a":"\\u001b"}'],
])('the cell of %j is %j', (value, text) => {
  expect(cellText(value)).toBe(text)
})

describe('invocation', () => {
  test.each([
    ['/home/a/aibridge/dist/server/cli.js', '/home/a/aibridge', 'node dist/server/cli.js'],
    ['/home/a/aibridge/dist/server/cli.js', '/home/a', 'node aibridge/dist/server/cli.js'],
    ['/home/a/aibridge/dist/server/cli.js', '/tmp', 'node /home/a/aibridge/dist/server/cli.js'],
    ["/home/it's a/cli.js", '/tmp', "node '/home/it'\\''s a/cli.js'"],
    ['/usr/local/bin/aibridge', '/tmp', 'aibridge'],
    ['/home/a/project/node_modules/.bin/aibridge', '/home/a/project', 'npx aibridge'],
    ['/home/a/.npm/_npx/1f/node_modules/.bin/aibridge', '/tmp', '/home/a/.npm/_npx/1f/node_modules/.bin/aibridge'],
  ])('%s run in %s is called %s', (path, cwd, words) => {
    const searchPath = '/home/a/.npm/_npx/1f/node_modules/.bin:/usr/local/bin:/usr/bin'
    expect(invocation(path, cwd, searchPath)).toBe(words)
  })

  test('an empty word is quoted', () => {
    expect(shellWord('')).toBe("''")
  })
})
