/** Makes the empty database that dist/ ships, of the compiled code. `npm run build` and the Dockerfile run this. */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/**
 * Makes the database, or takes that of an earlier build with the same code of the store.
 * @param {string} root
 */
export async function shipDatabase(root) {
  const store = join(root, 'dist/server/store')
  const load = (/** @type {string} */ file) => import(pathToFileURL(join(store, 'pglite', file)).href)
  const { shippedDatabaseFile, packDatabase } = await load('shipped-database.js')
  const target = fileURLToPath(await shippedDatabaseFile())
  const cached = join(root, 'node_modules/.cache/aibridge', `${codeOf(store)}-${basename(target)}`)
  if (!existsSync(cached)) {
    const { openEmbeddedDatabase } = await load('embedded.js')
    const dataDir = await mkdtemp(join(tmpdir(), 'aibridge-database-'))
    try {
      const { db, release } = await openEmbeddedDatabase({ dataDir })
      await db.destroy()
      await release()
      const packed = await packDatabase(join(dataDir, 'pg'))
      await mkdir(dirname(cached), { recursive: true })
      // A killed build leaves nothing that looks like a database.
      await writeFile(`${cached}.${process.pid}`, packed)
      await rename(`${cached}.${process.pid}`, cached)
    } finally {
      await rm(dataDir, { recursive: true, force: true })
    }
  }
  await copyFile(cached, target)
}

/** Returns a hash of the code that makes a database. */
function codeOf(/** @type {string} */ store) {
  const hash = createHash('sha256')
  for (const folder of ['migrations', 'pglite', 'sql'].map(name => join(store, name)))
    for (const name of readdirSync(folder).sort())
      if (name.endsWith('.js')) hash.update(readFileSync(join(folder, name)))
  return hash.digest('hex').slice(0, 16)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await shipDatabase(fileURLToPath(new URL('..', import.meta.url)))
}
