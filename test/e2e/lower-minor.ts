/** The newest build of this program whose contract has a lower minor, made from the history of the repository. */
import { execFile, execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rename, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { apiVersion } from '../../shared/contract/version.js'
import type { Version } from '../../shared/rpc/version.js'

const run = promisify(execFile)
const versionFile = 'shared/contract/version.ts'

/** A commit of the history, and the version of its contract. */
export interface PastCommit {
  commit: string
  version: Version
}

/**
 * Returns the newest ancestor of the working tree whose contract has a lower minor.
 * @throws Error, in one sentence, if the history is missing or ends before such a commit
 */
export function findLowerMinor(): PastCommit {
  let commit = 'HEAD'
  for (;;) {
    const version = versionAt(commit)
    if (version.major !== apiVersion.major) throw new Error(`${commit} has another major version of the contract`)
    if (version.minor < apiVersion.minor) return { commit: git('rev-parse', commit), version }
    commit = `${git('log', '-1', '--format=%H', '-Gexport const apiVersion', commit, '--', versionFile)}^`
  }
}

function versionAt(commit: string): Version {
  const text = git('show', `${commit}:${versionFile}`)
  const [, major, minor] = /apiVersion = \{ major: (\d+), minor: (\d+) \}/.exec(text) ?? []
  if (major === undefined || minor === undefined) throw new Error(`no version in ${versionFile} of ${commit}`)
  return { major: Number(major), minor: Number(minor) }
}

function git(...words: string[]): string {
  try {
    return execFileSync('git', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim()
  } catch (error) {
    const cause = String(Reflect.get(Object(error), 'stderr') || error)
      .trim()
      .split('\n')[0]
    throw new Error(
      `no build with a lower minor of the contract was tested: the history of ${versionFile} ends before it (${cause}); ` +
        'fetch the whole history, for instance with: git fetch --unshallow',
    )
  }
}

/** Builds a commit, once for each commit and machine, and returns the path of its command line. */
export async function buildCommit({ commit }: PastCommit): Promise<string> {
  const built = resolve('node_modules/.cache/aibridge', `build-${commit.slice(0, 12)}`)
  const program = join(built, 'dist/server/cli.js')
  if (existsSync(program)) return program
  const directory = await mkdtemp(join(tmpdir(), 'aibridge-build-'))
  try {
    const archive = join(directory, 'sources.tar')
    await run('git', ['archive', '-o', archive, commit])
    await run('tar', ['-xf', archive, '-C', directory])
    const [theirs, ours] = [dependenciesIn(directory), dependenciesIn('.')]
    const hasOurDependencies = Object.keys(theirs).every(name => theirs[name] === ours[name])
    if (hasOurDependencies) await symlink(resolve('node_modules'), join(directory, 'node_modules'))
    else await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: directory })
    await run('npm', ['run', '--silent', 'build'], { cwd: directory })

    // Below node_modules, the build finds the dependencies of this project.
    mkdirSync(dirname(built), { recursive: true })
    const unfinished = await mkdtemp(join(dirname(built), 'unfinished-'))
    const parts = ['dist', 'package.json', ...(hasOurDependencies ? [] : ['node_modules'])]
    for (const name of parts) cpSync(join(directory, name), join(unfinished, name), { recursive: true })
    await rename(unfinished, built)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
  return program
}

/** Returns the dependencies of the program, and the compiler, with their exact versions. */
function dependenciesIn(directory: string): Record<string, unknown> {
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'))
  return { ...dependencies, typescript: devDependencies.typescript }
}
