/** Builds dist/ unless the build there is fresh. `npm run build`; `npm run build -- --force` builds in any case. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

const ownRoot = fileURLToPath(new URL('..', import.meta.url))

/**
 * Builds dist/ unless the build there is fresh: made from these sources by this compiler, and unchanged since.
 * @param {{ force?: boolean, root?: string, compile?: (root: string) => Promise<boolean> }} [options] `compile` writes
 *   dist/ and returns whether it succeeded
 * @returns {Promise<boolean>} whether dist/ is fresh now; false: the compiler has printed its errors
 */
export async function build({ force = false, root = ownRoot, compile = runCompilers } = {}) {
  const dist = join(root, 'dist')
  const sources = fingerprint(root, sourceFiles(root))
  if (!force && isFresh(root, sources)) return true
  console.error('building aibridge …')
  const start = performance.now()
  // This removes the outputs of deleted sources, and the stamp: an interrupted build must not count as fresh.
  rmSync(dist, { recursive: true, force: true })
  if (!(await compile(root))) return false
  chmodSync(join(dist, 'server/cli.js'), 0o755)
  writeFileSync(stampFile(root), JSON.stringify({ sources, outputs: fingerprint(root, filesBelow(dist)) }))
  console.error(`built in ${((performance.now() - start) / 1000).toFixed(1)} s`)
  return true
}

/** Returns the path of the stamp, which holds the hashes of the sources and of the outputs. */
function stampFile(/** @type {string} */ root) {
  return join(root, 'dist/.built.json')
}

/** Returns whether the stamp fits. Contents count and times do not, because a checkout gives old contents new times. */
function isFresh(/** @type {string} */ root, /** @type {string} */ sources) {
  const stampPath = stampFile(root)
  if (!existsSync(stampPath)) return false
  const stamp = JSON.parse(readFileSync(stampPath, 'utf8'))
  if (stamp.sources !== sources) return false
  const outputs = filesBelow(join(root, 'dist')).filter(file => file !== stampPath)
  return stamp.outputs === fingerprint(root, outputs)
}

/** Returns the inputs of a build: the sources, the options, and the versions of compilers and database. */
function sourceFiles(/** @type {string} */ root) {
  const { include } = JSON.parse(readFileSync(join(root, 'tsconfig.build.json'), 'utf8'))
  const others = [
    'tsconfig.json',
    'tsconfig.build.json',
    'scripts/ship-database.js',
    'scripts/build-page.js',
    'node_modules/typescript/package.json',
    'node_modules/@electric-sql/pglite/package.json',
    'node_modules/vite/package.json',
  ]
  return [
    ...others.map(name => join(root, name)),
    ...[...include, 'web'].flatMap((/** @type {string} */ folder) => filesBelow(join(root, folder))),
  ]
}

function filesBelow(/** @type {string} */ folder) {
  return (
    readdirSync(folder, { recursive: true, withFileTypes: true })
      // The peers of the benchmark have packages of their own, which the build does not read.
      .filter(entry => entry.isFile() && !relative(folder, entry.parentPath).split(sep).includes('node_modules'))
      .map(entry => join(entry.parentPath, entry.name))
      .sort()
  )
}

/** Returns a hash of the files' paths and contents. */
function fingerprint(/** @type {string} */ root, /** @type {string[]} */ files) {
  const hash = createHash('sha256')
  for (const file of files) hash.update(`${relative(root, file)}\0${statSync(file).size}\0`).update(readFileSync(file))
  return hash.digest('hex')
}

/**
 * Compiles the programs, makes the shipped database, and builds the operator's page.
 * @param {string} root
 * @returns {Promise<boolean>}
 */
async function runCompilers(root) {
  const compiler = join(root, 'node_modules/typescript/bin/tsc')
  return (
    (await runNode(root, [compiler, '-p', 'tsconfig.build.json'])) &&
    // A process of its own: V8 keeps the code of PostgreSQL, and would optimise all of it.
    (await runNode(root, ['--liftoff-only', join(root, 'scripts/ship-database.js')])) &&
    (await runNode(root, [join(root, 'scripts/build-page.js')]))
  )
}

/**
 * @param {string} root
 * @param {string[]} args
 * @returns {Promise<boolean>}
 */
function runNode(root, args) {
  const child = spawn(process.execPath, args, { cwd: root, stdio: 'inherit' })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', code => resolve(code === 0))
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (!(await build({ force: process.argv.includes('--force') }))) process.exitCode = 1
}
