import { describe, expect, test } from 'vitest'
import { timeOrAge, timeOrDuration, wholeNumber } from '../../../../server/commands/common/option-values.js'

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
  ])('%j is rejected', text => {
    expect(() => timeOrDuration(text, now)).toThrow('It must be a duration')
  })
})

test('a duration that no Date can hold is rejected', () => {
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
