/**
 * The database that the build ships: an empty one with the schema, its files packed into one. Unpacking takes a tenth
 * of the processor time in which PostgreSQL makes a database. Sources that were not built have no such file.
 *
 * All databases of one file share PostgreSQL's system identifier and its nonce of password logins. The identifier keeps
 * replicas from the write-ahead log of a strange server, and the nonce belongs to logins over sockets: PGlite has
 * neither. Secrets and rows of users are made later.
 *
 * The packed file is compressed with Brotli: a line of JSON, {@link Contents}, and then the bytes that its files name.
 */
import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { brotliCompress, brotliDecompress, constants } from 'node:zlib'

/** A directory; paths are relative to it, and parents come before their children. */
interface Contents {
  directories: string[]
  /** `from` and `to` count bytes behind the line; files with equal bytes have the same */
  files: { path: string; from: number; to: number }[]
}

/** Quality 11 makes the file a sixth smaller and takes a minute. The window is the largest that every reader has. */
const compression = { params: { [constants.BROTLI_PARAM_QUALITY]: 5, [constants.BROTLI_PARAM_LGWIN]: 24 } }

/** Returns the place of the database for the installed version of PGlite, which reads no other version's files. */
export async function shippedDatabaseFile(): Promise<URL> {
  const packageFile = join(dirname(createRequire(import.meta.url).resolve('@electric-sql/pglite')), '../package.json')
  const { version }: { version: string } = JSON.parse(await readFile(packageFile, 'utf8'))
  return new URL(`./empty-database-${version}.br`, import.meta.url)
}

/** Returns the packed files of a closed database. */
export async function packDatabase(directory: string): Promise<Buffer> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const paths = entries.map(entry => ({ entry, path: join(entry.parentPath, entry.name).slice(directory.length + 1) }))
  paths.sort((a, b) => (a.path < b.path ? -1 : 1))
  const contents: Contents = { directories: [], files: [] }
  const parts: Buffer[] = []
  const places = new Map<string, { from: number; to: number }>()
  let end = 0
  for (const { entry, path } of paths) {
    if (entry.isDirectory()) {
      contents.directories.push(path)
      continue
    }
    const bytes = await readFile(join(directory, path))
    const hash = createHash('sha256').update(bytes).digest('hex')
    let place = places.get(hash)
    if (!place) {
      place = { from: end, to: end + bytes.length }
      places.set(hash, place)
      parts.push(bytes)
      end = place.to
    }
    contents.files.push({ path, ...place })
  }
  return promisify(brotliCompress)(Buffer.concat([Buffer.from(`${JSON.stringify(contents)}\n`), ...parts]), compression)
}

/**
 * Writes the files of a packed database into `directory`, which is empty.
 * @returns false if there is no packed database
 * @throws the error of the file system, such as ENOSPC; an error of zlib if the packed file is damaged
 */
export async function unpackDatabase(packed: URL, directory: string): Promise<boolean> {
  const compressed = await readFile(packed).catch((error: unknown) => {
    if (Reflect.get(Object(error), 'code') === 'ENOENT') return
    throw error
  })
  if (!compressed) return false
  const bytes = await promisify(brotliDecompress)(compressed)
  const start = bytes.indexOf('\n') + 1
  const { directories, files }: Contents = JSON.parse(bytes.toString('utf8', 0, start))
  for (const path of directories) await mkdir(join(directory, path), { mode: 0o700 })
  for (const { path, from, to } of files)
    await writeFile(join(directory, path), bytes.subarray(start + from, start + to), { mode: 0o600 })
  return true
}
