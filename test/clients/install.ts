/** Installs pinned packages from the npm registry. */
import { execFile } from 'node:child_process'
import { access, mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type PackageName, versions } from './versions.js'

/** An installation of hundreds of megabytes over a slow line. */
const timeoutMs = 15 * 60_000

/**
 * Installs packages in a folder of their own and returns that folder. A whole earlier installation is used again.
 * @throws Error with the last lines of npm's output
 */
export async function install(parent: string, packages: readonly PackageName[]): Promise<string> {
  const label = packages.map(name => `${name.replace('@', '').replace('/', '-')}-${versions[name]}`).join('+')
  const folder = join(parent, label.slice(0, 200))
  const isDone = await access(folder).then(
    () => true,
    () => false,
  )
  if (isDone) return folder
  const unfinished = `${folder}.unfinished`
  await mkdir(unfinished, { recursive: true })
  const dependencies = Object.fromEntries(packages.map(name => [name, versions[name]]))
  // npm runs the install scripts of allowed packages only; these put the platform's binary in its place.
  const allowScripts = Object.fromEntries(packages.map(name => [`${name}@${versions[name]}`, true]))
  await writeFile(join(unfinished, 'package.json'), JSON.stringify({ private: true, dependencies, allowScripts }))
  try {
    await promisify(execFile)('npm', ['install', '--no-audit', '--no-fund', '--loglevel', 'error'], {
      cwd: unfinished,
      timeout: timeoutMs,
      maxBuffer: 1 << 26,
    })
  } catch (error) {
    const { stderr } = error as { stderr?: string } // promisify(execFile) adds it
    throw new Error(`npm install failed: ${(stderr || String(error)).trim().split('\n').slice(-3).join(' ')}`)
  }
  await rename(unfinished, folder)
  return folder
}
