/** House rules of the sources that the formatter does not hold. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { parseSync } from 'vite'
import { expect, test } from 'vitest'

const lineWidth: number = JSON.parse(readFileSync('biome.json', 'utf8')).formatter.lineWidth

/** Every source of the project, as a path from the top. */
const paths = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { encoding: 'utf8' })
  .split('\n')
  .filter(path => /\.[cm]?[jt]s$/.test(path) && existsSync(path))
const sources = new Map(paths.map(path => [path, readFileSync(path, 'utf8')]))

/**
 * Returns the lines of comments that are wider than the formatter's width. Rows of tables cannot be broken, and the
 * reason for a cast stands on the line of the cast.
 */
function wideComments(path: string, source: string): string[] {
  if (!source.split('\n').some(line => line.length > lineWidth)) return []
  return parseSync(path, source).comments.flatMap(({ start, end }) => {
    const lineStart = source.lastIndexOf('\n', start) + 1
    if (source.slice(lineStart, start).trim() !== '') return []
    const lines = source.slice(lineStart, end).split('\n')
    return lines
      .filter(line => line.length > lineWidth && !/^ *\* \|/.test(line))
      .map(line => `${path}: ${line.trim()}`)
  })
}

test('comments fit into the width of the formatter', () => {
  expect([...sources].flatMap(([path, source]) => wideComments(path, source))).toEqual([])
})

test.each([
  [`/** ${'x'.repeat(120)} */\nexport const a = 1`, 1],
  [`/**\n * ${'x'.repeat(120)}\n * | ${'x'.repeat(120)} |\n */\nexport const a = 1`, 1],
  [`// ${'x'.repeat(120)}\nexport const a = '${'x'.repeat(120)}' // y`, 1],
])('a made-up wide comment is found', (source, count) => {
  expect(wideComments('shared/a.ts', source)).toHaveLength(count)
})
