import { expect, test } from 'vitest'
import { cellText } from '../../../server/process/output.js'

test.each([
  [null, '-'],
  ['', '-'],
  [new Date('2030-01-31T12:00:00Z'), '2030-01-31T12:00:00.000Z'],
  [true, 'true'],
  ['ü 漢 🙂', 'ü 漢 🙂'],
  ['a\tb\nc', 'a\\tb\\nc'],
  ['\u001b[2J\u009b1m\u202e', '\\u001b[2J\\u009b1m\\u202e'],
  [{ a: '\u001b' }, '{"a":"\\u001b"}'],
])('the cell of %j is %j', (value, text) => {
  expect(cellText(value)).toBe(text)
})
