import { expect, test } from 'vitest'
import { csvLine } from '../../../shared/values/csv.js'

test('numbers of any size are numbers, and no value is an empty cell', () => {
  expect(csvLine(['a', 1, null, undefined, 2n])).toBe('a,1,,,2\r\n')
})

test.each<[unknown[], string]>([
  [['a,b', 'c"d', 'e\nf'], '"a,b","c""d","e\nf"\r\n'],
  [[-1, 0.5], '-1,0.5\r\n'],
  [[new Date(0)], '1970-01-01T00:00:00.000Z\r\n'],
  [[{ a: 1 }], '"{""a"":1}"\r\n'],
])('the line of %j is %j', (cells, line) => {
  expect(csvLine(cells)).toBe(line)
})

test.each(['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', ' =1', '"=1', "'=1", '\uff1d1', '|calc'])(
  'the text %j is no formula',
  text => {
    const line = csvLine([text]).replace(/\r\n$/, '')
    const cell = line.startsWith('"') ? line.slice(1, -1).replaceAll('""', '"') : line
    expect(cell).toBe(`'${text}`)
  },
)
