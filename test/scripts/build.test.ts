/** `npm run build` and `npm start` build what is not fresh, and nothing else. */
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { build } from '../../scripts/build.js'

let root: string
beforeEach(async () => {
  vi.spyOn(console, 'error').mockReturnValue()
  root = await mkdtemp(join(tmpdir(), 'aibridge-build-'))
  await write('tsconfig.json', '{}')
  await write('tsconfig.build.json', '{ "include": ["server"] }')
  await write('node_modules/typescript/package.json', '{ "version": "1" }')
  await write('node_modules/@electric-sql/pglite/package.json', '{ "version": "1" }')
  await write('node_modules/vite/package.json', '{ "version": "1" }')
  await write('scripts/ship-database.js', 'one')
  await write('scripts/build-page.js', 'one')
  await write('web/src/main.tsx', 'one')
  await write('server/cli.ts', 'one')
  await write('server/old.ts', 'old')
})
afterEach(async () => {
  vi.restoreAllMocks()
  await rm(root, { recursive: true })
})

async function write(path: string, text: string): Promise<void> {
  await mkdir(join(root, path, '..'), { recursive: true })
  await writeFile(join(root, path), text)
}

/** Stands for the compiler: one output for each source. */
async function copySources(): Promise<boolean> {
  for (const name of await readdir(join(root, 'server'))) {
    await write(`dist/server/${name.replace('.ts', '.js')}`, await readFile(join(root, 'server', name), 'utf8'))
  }
  return true
}

/** Builds and says whether the compiler ran. */
async function built(options: { force?: boolean } = {}): Promise<boolean> {
  const compile = vi.fn(copySources)
  expect(await build({ root, compile, ...options })).toBe(true)
  expect(vi.mocked(console.error).mock.calls.length > 0).toBe(compile.mock.calls.length > 0)
  vi.mocked(console.error).mockClear()
  return compile.mock.calls.length > 0
}

test('a fresh build is not repeated, also when a checkout gave the sources new times', async () => {
  expect(await built()).toBe(true)
  expect(await built()).toBe(false)
  await utimes(join(root, 'server/cli.ts'), new Date(), new Date(Date.now() + 60_000))
  expect(await built()).toBe(false)
  expect(await built({ force: true })).toBe(true)
})

test('packages in a folder of the sources do not count as sources', async () => {
  expect(await built()).toBe(true)
  await write('server/node_modules/peer/index.js', 'a peer of the benchmark')
  expect(await built()).toBe(false)
})

test.each<[string, () => Promise<void>]>([
  ['an edited source', () => write('server/cli.ts', 'two')],
  [
    'an edited source with an old time',
    async () => {
      await write('server/cli.ts', 'two')
      await utimes(join(root, 'server/cli.ts'), new Date(0), new Date(0))
    },
  ],
  ['an edited file of the page', () => write('web/src/main.tsx', 'two')],
  ['another bundler', () => write('node_modules/vite/package.json', '{ "version": "2" }')],
  ['a new source', () => write('server/new.ts', 'new')],
  ['a deleted source', () => rm(join(root, 'server/old.ts'))],
  ['other options of the compiler', () => write('tsconfig.json', '{ "compilerOptions": {} }')],
  ['another compiler', () => write('node_modules/typescript/package.json', '{ "version": "2" }')],
  ['another PGlite', () => write('node_modules/@electric-sql/pglite/package.json', '{ "version": "2" }')],
  ['another script of the shipped database', () => write('scripts/ship-database.js', 'two')],
  ['a deleted output', () => rm(join(root, 'dist/server/old.js'))],
  ['an edited output', () => write('dist/server/cli.js', 'by hand')],
])('%s is built, once', async (_, change) => {
  await built()
  await change()
  expect(await built()).toBe(true)
  expect(await built()).toBe(false)
  const sources = await readdir(join(root, 'server'))
  expect(await readdir(join(root, 'dist/server'))).toEqual(sources.map(name => name.replace('.ts', '.js')))
})

test('a build that failed is not fresh, and leaves no old output', async () => {
  await built()
  await write('server/cli.ts', 'error')
  expect(await build({ root, compile: async () => false })).toBe(false)
  expect(existsSync(join(root, 'dist/server/cli.js'))).toBe(false)
  expect(await built()).toBe(true)
})
