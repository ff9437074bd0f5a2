/**
 * The image, as far as it can be seen without Docker: the stages of the Dockerfile become directories, and the program
 * starts from the last one. `npm run test:image` runs the Dockerfile's own installs and build; without it the packages
 * are linked and the build is the suite's.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { makeDataDir } from '../fixtures/data-dir.js'
import { buildStages, contextOf, copiesOf, parseDockerfile, type Stage, shell, valuesOf } from './dockerfile.js'

const isReal = process.env.IMAGE === '1'

let stages: Stage[]
let image: Stage
let root: string
/** where the program lies in the image */
let work: string

beforeAll(async () => {
  stages = parseDockerfile(await readFile('Dockerfile', 'utf8'))
  const last = stages.at(-1)
  if (!last) throw new Error('the Dockerfile has no stage')
  image = last
  root = await realpath(await mkdtemp(join(tmpdir(), 'aibridge-image-')))
  work = await buildStages(stages, { context: process.cwd(), root, command: isReal ? shell : shortened })
}, 600_000)

afterAll(() => rm(root, { recursive: true, force: true }))

test('every path that the Dockerfile copies exists, and .dockerignore lets it in', async () => {
  const context = await contextOf('.dockerignore')
  const copied = new Set(stages.flatMap(copiesOf).flatMap(({ from, sources }) => (from === undefined ? sources : [])))
  expect([...copied].filter(path => !existsSync(path))).toEqual([])
  expect(context).toEqual(copied)
})

test('the image holds no TypeScript: neither sources, nor declarations, nor the compiler', async () => {
  const paths = await readdir(isReal ? work : join(work, 'dist'), { recursive: true })
  expect(paths.length).toBeGreaterThan(100)
  expect(paths.filter(path => /\.([cm]?ts|map)$/.test(path))).toEqual([])
  const packages = await readdir(join(work, 'node_modules'))
  expect(packages).toContain('zod')
  expect(packages).not.toContain('typescript')
  expect(packages).not.toContain('@typescript')
})

test('the image serves as a user without rights, is healthy while it does, and ends by its stop signal', async () => {
  expect(valuesOf(image, 'USER')).toEqual(['node'])
  const dataDir = await makeDataDir()
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }))
  const settings = valuesOf(image, 'ENV').flatMap(value => value.split(' '))
  const env = { ...process.env, ...Object.fromEntries(settings.map(setting => setting.split('='))) }
  expect(env.BRIDGE_DATA).toBe(valuesOf(image, 'VOLUME')[0])
  env.BRIDGE_DATA = dataDir
  Object.assign(env, { BRIDGE_PORT: '0', BRIDGE_LOG_LEVEL: 'warn' })
  // The directory has a database, so that the start takes no seconds, and no key that was made with it.
  env.BRIDGE_ENCRYPTION_KEY = 'ab'.repeat(32)
  const [entrypoint, command] = ['ENTRYPOINT', 'CMD'].map(name => parseCommand(image, name))
  const [program = '', ...args] = [...(entrypoint ?? []), ...(command ?? []), '--json']
  const server = spawn(program, args, { cwd: work, env, stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void server.kill('SIGKILL'))
  const exited = once(server, 'exit')
  const [line] = await Promise.race([once(createInterface(server.stdout), 'line'), exited])
  const { url }: { url: string } = JSON.parse(line)
  env.BRIDGE_PORT = new URL(url).port
  expect(await healthCheck(env)).toBe(0)
  const [stopSignal] = valuesOf(image, 'STOPSIGNAL')
  server.kill(stopSignal as NodeJS.Signals) // the test fails if it is none
  expect(await exited).toEqual([0, null])
  expect(await healthCheck(env)).toBe(1)
})

/** The exit code of the image's HEALTHCHECK. */
async function healthCheck(env: NodeJS.ProcessEnv): Promise<number> {
  const [value = ''] = valuesOf(image, 'HEALTHCHECK')
  const [program = '', ...args]: string[] = JSON.parse(value.replace(/^CMD /, ''))
  const [code] = await once(spawn(program, args, { cwd: work, env, stdio: 'ignore' }), 'exit')
  return code
}

function parseCommand(stage: Stage, name: string): string[] {
  return valuesOf(stage, name).flatMap((value): string[] => JSON.parse(value))
}

/** Line of the Dockerfile → the folders that it builds. */
const built: Readonly<Record<string, readonly string[]>> = {
  'node_modules/.bin/tsc -p tsconfig.build.json && node scripts/ship-database.js': ['server', 'client', 'shared'],
  'node scripts/build-page.js': ['web'],
}

/** Runs a line of the Dockerfile; what it would install or compile anew is taken from this project. */
async function shortened(line: string, cwd: string): Promise<void> {
  const [, install] = /^npm ci (.*)$/.exec(line) ?? []
  if (install !== undefined) return linkPackages(install.split(' '), cwd)
  const rooms = built[line]
  if (!rooms) return shell(line, cwd)
  for (const room of rooms) {
    await cp(join('dist', room), join(cwd, 'dist', room), { recursive: true })
  }
}

interface LockedPackage {
  dependencies?: Record<string, string>
  devDependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
  peerDependencies?: Record<string, string>
}

/** Links the packages that `npm ci` installs with these flags, according to the lock file. */
async function linkPackages(flags: readonly string[], cwd: string): Promise<void> {
  const lock: { packages: Record<string, LockedPackage> } = JSON.parse(await readFile('package-lock.json', 'utf8'))
  const kinds: (keyof LockedPackage)[] = ['dependencies', 'optionalDependencies']
  if (!flags.includes('--legacy-peer-deps')) kinds.push('peerDependencies')
  const found = new Set<string>()
  const follow = (path: string, { [path]: entry = {} } = lock.packages): void => {
    const isRoot = path === '' && !flags.includes('--omit=dev')
    for (const kind of isRoot ? [...kinds, 'devDependencies' as const] : kinds) {
      for (const name of Object.keys(entry[kind] ?? {})) {
        const place = [`${path}/node_modules/${name}`, `node_modules/${name}`].find(
          candidate => lock.packages[candidate],
        )
        if (place === undefined || found.has(place)) continue
        found.add(place)
        follow(place)
      }
    }
  }
  follow('')
  for (const path of found) {
    // A package below another one comes with it; an optional one is not there on every platform.
    if (path.lastIndexOf('node_modules/') > 0 || !existsSync(path)) continue
    await mkdir(dirname(join(cwd, path)), { recursive: true })
    await symlink(resolve(path), join(cwd, path))
  }
}
