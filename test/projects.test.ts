/** The two projects of vitest.config.ts: one needs the build, the other one never does. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseSync } from 'vite'
import { expect, test } from 'vitest'

/** Exports of test/e2e/process.ts that start the built program. */
const starters = ['program', 'run', 'runJson', 'startServe', 'startDaemon', 'follow']

const needsBuild = (file: string) => /^(e2e|web)\//.test(file) || file.endsWith('.process.test.ts')

const testFiles = readdirSync('test', { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.test.ts'))

function startersIn(file: string): string[] {
  const { module } = parseSync(file, readFileSync(join('test', file), 'utf8'))
  return module.staticImports
    .filter(({ moduleRequest }) => /(^|\/)e2e\/process\.js$/.test(moduleRequest.value))
    .flatMap(({ entries }) => entries.filter(({ isType }) => !isType).map(({ importName }) => importName.name ?? '*'))
    .filter(name => name === '*' || starters.includes(name))
}

test('a file of project fast starts no process of the built program', () => {
  const wrong = testFiles.filter(file => !needsBuild(file)).map(file => [file, startersIn(file)])
  expect(wrong.filter(([, names]) => names?.length)).toEqual([])
  // The list of names is up to date: the other project uses them.
  const used = new Set(testFiles.filter(file => file.endsWith('.process.test.ts')).flatMap(startersIn))
  expect([...used].sort()).toEqual(['follow', 'program', 'run'])
})
