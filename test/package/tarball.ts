/** The tarball that `npm pack` makes of the build. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** A packed build. */
export interface Tarball {
  path: string
  /** the paths in the tarball, from the top of the package */
  files: string[]
}

/** Packs what the last build made, into `directory`. For all files of a run: npm takes seconds. */
export async function packTarball(directory: string): Promise<Tarball> {
  const pack = ['pack', '--ignore-scripts', '--json', '--pack-destination', directory]
  const packed: { filename: string; files: { path: string }[] }[] = JSON.parse(
    (await promisify(execFile)('npm', pack)).stdout,
  )
  const [{ filename, files } = { filename: '', files: [] }] = packed
  return { path: join(directory, filename), files: files.map(({ path }) => path) }
}
