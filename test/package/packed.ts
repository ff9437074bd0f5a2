/** A directory of a program that depends on the packed build. */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, realpath, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { onDemand } from '../fixtures/on-demand.js'

const run = promisify(execFile)

/** A packed build and an otherwise empty directory that has it, with its dependencies, in `node_modules`. */
export interface PackedPackage {
  directory: string
  tarball: Buffer
  /** the paths in the tarball, from the top of the package */
  files: string[]
  remove(): Promise<void>
}

/** Unpacks what the last build made. The dependencies are links to those of this project: nothing is fetched. */
export async function packPackage(): Promise<PackedPackage> {
  const { path, files } = await onDemand('tarball')
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'aibridge-package-')))
  const installed = join(directory, 'node_modules/aibridge')
  await mkdir(installed, { recursive: true })
  await run('tar', ['xzf', path, '-C', installed, '--strip-components=1'])
  const manifest: { dependencies: object } = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8'))
  for (const name of Object.keys(manifest.dependencies)) {
    const link = join(directory, 'node_modules', name)
    await mkdir(dirname(link), { recursive: true })
    await symlink(resolve('node_modules', name), link)
  }
  return {
    directory,
    tarball: await readFile(path),
    files,
    remove: () => rm(directory, { recursive: true, force: true }),
  }
}
