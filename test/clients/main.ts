/**
 * `npm run test:clients` installs real clients, runs each through the bridge with a tool loop, and checks the record.
 * Needs the npm registry and about 2 GB of disk space. By hand and nightly, not part of `npm test`.
 *
 *     npm run test:clients -- [--all] [--only TEXT] [--packages DIR] [--trace DIR]
 *
 * `--all` adds the clients of more-clients.ts. `--only` runs the clients whose names contain the text. `--packages`
 * keeps the installed packages there for the next run. `--trace` writes all requests, records and output of each
 * client to a folder.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { clients } from './clients.js'
import type { Job, Result } from './inside.js'
import { install } from './install.js'
import { moreClients } from './more-clients.js'
import { namespacePrefix } from './network.js'
import { versions } from './versions.js'

const { values: options } = parseArgs({
  options: {
    all: { type: 'boolean' },
    only: { type: 'string' },
    packages: { type: 'string' },
    trace: { type: 'string' },
  },
})
const directory = await mkdtemp(join(tmpdir(), 'aibridge-clients-'))
const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.abort())
try {
  const results = await runAll()
  console.log(table(results))
  const failed = results.filter(({ problems }) => problems.length > 0).length
  console.log(`${results.length - failed} passed, ${failed} failed`)
  process.exitCode = failed > 0 || results.length === 0 || interrupted.signal.aborted ? 1 : 0
} finally {
  await rm(directory, { recursive: true, force: true, maxRetries: 5 })
}

async function runAll(): Promise<Result[]> {
  const known = options.all ? [...clients, ...moreClients] : clients
  const chosen = known.filter(({ name }) => name.toLowerCase().includes((options.only ?? '').toLowerCase()))
  const packages = options.packages === undefined ? join(directory, 'packages') : resolve(options.packages)
  const installed: Job['installed'] = {}
  const failures: Result[] = []
  for (const client of chosen) {
    const names = client.packages.map(name => `${name} ${versions[name]}`).join(', ')
    if (interrupted.signal.aborted) return failures
    console.log(`installs ${names}`)
    try {
      installed[client.name] = await install(packages, client.packages)
    } catch (error) {
      const problem = `not installed: ${error instanceof Error ? error.message : String(error)}`
      failures.push({ name: client.name, requests: 0, tookMs: 0, problems: [problem], errors: [], rejected: [] })
    }
  }
  const trace = options.trace === undefined ? undefined : resolve(options.trace)
  if (trace !== undefined) await mkdir(trace, { recursive: true })
  return [...failures, ...(await runInside(installed, trace))]
}

async function runInside(installed: Job['installed'], trace: string | undefined): Promise<Result[]> {
  const prefix = namespacePrefix()
  const isNamespace = prefix.length > 0
  console.log(
    isNamespace
      ? 'network: a namespace with loopback only; look-ups of names and connections to ports 80 and 443 are seen'
      : 'network: a proxy that rejects all but loopback; clients that ignore HTTPS_PROXY are neither stopped nor seen',
  )
  const job: Job = { isNamespace, directory, installed, ...(trace !== undefined && { trace }) }
  const [jobFile, resultsFile] = [join(directory, 'job.json'), join(directory, 'results.json')]
  await writeFile(jobFile, JSON.stringify(job))
  const command = [...prefix, process.execPath, join(import.meta.dirname, 'inside.js'), jobFile, resultsFile]
  const [program = '', ...args] = command
  const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'] })
  // `unshare` ignores a SIGTERM; its own death ends the whole namespace.
  const stop = (): void => void child.kill(isNamespace ? 'SIGKILL' : 'SIGTERM')
  interrupted.signal.addEventListener('abort', stop, { once: true })
  if (interrupted.signal.aborted) stop()
  const [code] = await once(child, 'close')
  const results: Result[] = await readFile(resultsFile, 'utf8').then(JSON.parse, () => [])
  if (code !== 0) {
    results.push({
      name: 'the run',
      requests: 0,
      tookMs: 0,
      problems: [`ended with ${code}`],
      errors: [],
      rejected: [],
    })
  }
  return results
}

function table(results: readonly Result[]): string {
  const width = Math.max(0, ...results.map(({ name }) => name.length))
  const lines = results.flatMap(({ name, requests, tookMs, problems, errors, rejected }) => {
    const verdict = problems.length > 0 ? 'FAILED' : 'passed'
    const took = `${(tookMs / 1000).toFixed(1)} s`
    return [
      `${name.padEnd(width)}  ${verdict}  ${`${requests} requests`.padStart(11)}  ${took.padStart(7)}`,
      ...problems.map(problem => `    ${problem}`),
      ...errors.map(error => `    the bridge responded with ${error}`),
      ...rejected.map(destination => `    not reached: ${destination}`),
    ]
  })
  return ['', ...lines, ''].join('\n')
}
