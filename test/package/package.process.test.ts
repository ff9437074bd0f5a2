/** What the registry and a program that depends on the package see of it. */
import { execFile } from 'node:child_process'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { nodeFlags } from '../e2e/process.js'
import { makeDataDir } from '../fixtures/data-dir.js'
import { makeDatabase } from '../fixtures/stores.js'
import { type PackedPackage, packPackage } from './packed.js'

let packed: PackedPackage

beforeAll(async () => {
  packed = await packPackage()
})
afterAll(() => packed.remove())

test('publint finds nothing to mend in the package', async () => {
  const tarball = new Uint8Array(packed.tarball).buffer
  const { messages, pkg } = await publint({ strict: true, pack: { tarball } })
  expect(messages.map(message => formatMessage(message, pkg, { color: false }))).toEqual([])
})

test('the types of every entry point are those of its code, for an importer and for a bundler', async () => {
  const analysis = await checkPackage(createPackageFromTarballData(packed.tarball))
  if (!analysis.types) throw new Error('the package has no types')
  // The package is ESM with subpaths alone: `require` and resolution without `exports` (node10) are not for it.
  const unsupported = new Set(['node10', 'node16-cjs'])
  const problems = analysis.problems.filter(
    problem => !('resolutionKind' in problem && unsupported.has(problem.resolutionKind)),
  )
  expect(problems).toEqual([])
  expect(Object.keys(analysis.entrypoints).sort()).toEqual(['./client', './server', './shared'])
})

test('the package holds the build of three folders, an empty database, the page and documents, nothing else', () => {
  const code = /^dist\/(server|client|shared)\/.*\.c?(js|js\.map|d\.c?ts)$/
  const page = /^dist\/web\/(index\.html|assets\/[\w.-]+\.(js|css|svg))(\.br|\.gz)?$/
  expect(packed.files).toContain('dist/web/index.html')
  const others = packed.files.filter(path => !code.test(path) && !page.test(path))
  const database = expect.stringMatching(/^dist\/server\/store\/pglite\/empty-database-[\d.]+\.br$/)
  expect(others.sort()).toEqual(['LICENSE', 'README.md', database, 'package.json'])
})

test('every source map carries its sources', async () => {
  const maps = packed.files.filter(path => path.endsWith('.map'))
  expect(maps.length).toBeGreaterThan(100)
  const incomplete: string[] = []
  for (const path of maps) {
    const map: { sources: string[]; sourcesContent?: string[] } = JSON.parse(await installed(path))
    if (map.sources.length === 0 || map.sources.length !== map.sourcesContent?.length) incomplete.push(path)
  }
  expect(incomplete).toEqual([])
})

test('a program with the URL of a database loads no embedded database', async () => {
  const { url, drop } = await makeDatabase()
  onTestFinished(drop)
  const loaded = await packagesLoadedBy({ databaseUrl: url })
  expect(loaded).toContain('pg')
  expect(loaded).not.toContain('@electric-sql/pglite')
})

test('a program with a data directory loads no PostgreSQL client', async () => {
  const dataDir = await makeDataDir()
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }))
  const loaded = await packagesLoadedBy({ dataDir })
  // PGlite itself runs in a thread of its own.
  expect(loaded).toContain('kysely')
  expect(loaded).not.toContain('pg')
})

function installed(path: string): Promise<string> {
  return readFile(join(packed.directory, 'node_modules/aibridge', path), 'utf8')
}

/** The packages that a program's main thread imports when it opens a store and closes it. */
async function packagesLoadedBy(options: object): Promise<string[]> {
  const hooks = `
    import { appendFileSync } from 'node:fs'
    export async function resolve(specifier, context, next) {
      appendFileSync('imported.txt', specifier + '\\n')
      return next(specifier, context)
    }`
  const program = `
    import { register } from 'node:module'
    register(${JSON.stringify(`data:text/javascript,${encodeURIComponent(hooks)}`)})
    const { openStore } = await import('aibridge/server')
    const store = await openStore(${JSON.stringify(options)})
    await store.ping()
    await store.close()`
  await writeFile(join(packed.directory, 'imported.txt'), '')
  await writeFile(join(packed.directory, 'program.mjs'), program)
  await promisify(execFile)(process.execPath, [...nodeFlags, 'program.mjs'], { cwd: packed.directory })
  return (await readFile(join(packed.directory, 'imported.txt'), 'utf8')).split('\n')
}
