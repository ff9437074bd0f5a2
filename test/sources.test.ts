/** House rules of the sources that the formatter does not hold. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { parseSync } from 'vite'
import { expect, test } from 'vitest'

const lineWidth: number = JSON.parse(readFileSync('biome.json', 'utf8')).formatter.lineWidth

/** Every source of the project, as a path from the top. */
const paths = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { encoding: 'utf8' })
  .split('\n')
  .filter(path => /\.([cm]?[jt]s|tsx)$/.test(path) && existsSync(path))
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

/**
 * First words of names that need the title around them for a subject, such as "is read once". Words that are nouns too
 * (calls, reads, names) are not among them.
 */
const withoutSubject = new RegExp(
  `^(${[
    'is|are|was|were|has|have|had|that|which|whose|does|do|can|may|must|and',
    'takes|gets|rejects|sends|shows|goes|ends|says|answers|opens|keeps|prints|gives|makes|leaves|aborts|cancels|closes',
    'drops|fails|finds|follows|holds|lets|loses|moves|needs|passes|reaches|returns|runs|sees|serves|skips|starts|stays',
    'stops|stores|tells|throws|works|wins|becomes|begins|belongs|carries|covers|creates|delivers|ignores|knows|matches',
    'never|removes|repeats|replaces|reports|resolves|resumes|retries|survives|tries|uses|asks|adds|accepts',
  ].join('|')})\\b`,
)

/** Returns the names of a file's tests that are no fact by themselves. */
function namesWithoutSubject(path: string, source: string): string[] {
  const names = source.matchAll(/^\s*(?:(?:test|it)(?:\.\w+)*\(|\]( as const)?\)\()(['"`])(.*?)\2, /gm)
  return [...names].flatMap(([, , , name = '']) => (withoutSubject.test(name) ? [`${path}: ${name}`] : []))
}

test('the name of a test is a fact that stands alone', () => {
  const tests = [...sources].filter(([path]) => path.startsWith('test/') && path.endsWith('.test.ts'))
  expect(tests.flatMap(([path, source]) => namesWithoutSubject(path, source))).toEqual([])
})

test('a made-up name without a subject is found', () => {
  const source = "test('is read once', () => {})\n  test.each([\n    1,\n  ])('that fails %i times is kept', () => {})"
  expect(namesWithoutSubject('test/a.test.ts', source)).toHaveLength(2)
})
