import { expect, test } from 'vitest'
import { interceptionIdOf, isRecordKind, recordKinds } from '../../../shared/contract/record-kinds.js'
import { recordSchemas } from '../../../shared/contract/recorder.js'

test('every kind has a schema, and a procedure, label and log type of its own', () => {
  expect(Object.keys(recordSchemas)).toEqual(Object.keys(recordKinds))
  for (const column of ['procedure', 'label', 'logType'] as const) {
    const names = Object.values(recordKinds).map(row => row[column])
    expect(new Set(names).size).toBe(names.length)
  }
})

test.each([
  ['tokenUsage', true],
  ['constructor', false],
  ['', false],
  [undefined, false],
  [['tokenUsage'], false],
])('whether %j names a kind: %s', (value, expected) => expect(isRecordKind(value)).toBe(expected))

test('a child names its interception, an interception and its end are named by their own id', () => {
  expect(interceptionIdOf({ id: 'child', interceptionId: 'parent' })).toBe('parent')
  expect(interceptionIdOf({ id: 'own' })).toBe('own')
})
