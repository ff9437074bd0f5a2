/** An old Node gets one sentence, before anything that it cannot read. */
import { readFileSync } from 'node:fs'
import { runInNewContext } from 'node:vm'
import { parseSync, transformWithOxc } from 'vite'
import { describe, expect, test, vi } from 'vitest'

const check = 'server/process/require-node.cjs'

/** Runs the check as a Node of this version would, and returns its exit code and its words. */
function runCheck(version: string): { exitCode: number | undefined; words: string } {
  const exit = vi.fn<(code: number) => void>()
  const error = vi.fn<(text: string) => void>()
  runInNewContext(readFileSync(check, 'utf8'), { process: { versions: { node: version }, exit }, console: { error } })
  return { exitCode: exit.mock.lastCall?.[0], words: error.mock.calls.flat().join('\n') }
}

test.each(['0.12.18', '12.22.12', '18.20.4', '19.9.0', '20.9.0', '20.18.3'])(
  'Node %s is rejected in one sentence',
  version => {
    expect(runCheck(version)).toEqual({
      exitCode: 1,
      words: `aibridge needs Node.js 20.19 or newer, and this is ${version}: install a newer one from https://nodejs.org`,
    })
  },
)

test.each(['20.19.0', '20.20.2', '22.0.0', '100.0.0'])('Node %s is accepted', version => {
  expect(runCheck(version)).toEqual({ exitCode: undefined, words: '' })
})

test('the check and package.json name the same version', () => {
  expect(JSON.parse(readFileSync('package.json', 'utf8'))).toMatchObject({ engines: { node: '>=20.19' } })
})

describe('an old Node can read the files that come before the check', () => {
  test.each([
    [check, []],
    ['server/cli.ts', ['./process/require-node.cjs', './commands/main.js']],
    ['scripts/start.js', ['../server/process/require-node.cjs', './build-and-serve.js']],
  ])('%s', async (path, imports) => {
    const source = readFileSync(path, 'utf8')
    // A file without newer syntax is the same for the oldest target.
    const [old, latest] = await Promise.all(
      (['es2019', 'esnext'] as const).map(target => transformWithOxc(source, path, { target, sourcemap: false })),
    )
    expect(old?.code).toBe(latest?.code)
    expect(source).not.toMatch(/\bawait\b/)
    const { program, module } = parseSync(path, source)
    const first = program.body.filter(({ type }) => type === 'ImportDeclaration')
    expect(first.length).toBeLessThanOrEqual(1)
    const lazy = module.dynamicImports.map(({ moduleRequest: { start, end } }) => source.slice(start + 1, end - 1))
    expect([...module.staticImports.map(({ moduleRequest }) => moduleRequest.value), ...lazy]).toEqual(imports)
  })
})
