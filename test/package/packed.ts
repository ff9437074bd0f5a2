/** The tarball that `npm pack` makes of the build, and a directory of a program that depends on it. */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, realpath, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** A packed build and an otherwise empty directory that has it, with its dependencies, in `node_modules`. */
export interface PackedPackage {
  directory: string
  tarball: Buffer
  /** the paths in the tarball, from the top of the package */
  files: string[]
  remove(): Promise<void>
}

/** Packs what the last build made. The dependencies are links to those of this project: nothing is fetched. */
export async function packPackage(): Promise<PackedPackage> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'aibridge-package-')))
  const pack = ['pack', '--ignore-scripts', '--json', '--pack-destination', directory]
  const packed: { filename: string; files: { path: string }[] }[] = JSON.parse((await run('npm', pack)).stdout)
  const [{ filename, files } = { filename: '', files: [] }] = packed
  const installed = join(directory, 'node_modules/aibridge')
  await mkdir(installed, { recursive: true })
  await run('tar', ['xzf', join(directory, filename), '-C', installed, '--strip-components=1'])
  const manifest: { dependencies: object } = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8'))
  for (const name of Object.keys(manifest.dependencies)) {
    const link = join(directory, 'node_modules', name)
    await mkdir(dirname(link), { recursive: true })
    await symlink(resolve('node_modules', name), link)
  }
  return {
    directory,
    tarball: await readFile(join(directory, filename)),
    files: files.map(({ path }) => path),
    remove: () => rm(directory, { recursive: true, force: true }),
  }
}
