/**
 * Runs the installed clients, one after another, against a server of their own. `main.ts` starts this program, in a
 * network namespace where there is one, and reads its results from a file.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { cleanUp, run, runJson, type ServeProcess, startServe } from '../e2e/process.js'
import { killClients, runClient } from './client-process.js'
import { type Client, clients, type Place } from './clients.js'
import { moreClients } from './more-clients.js'
import { guardByProxy, guardNamespace, type NetworkGuard } from './network.js'
import { differences, recordsOf } from './record.js'
import { type StandIn, startStandIn } from './stand-in.js'
import { promptFor } from './tool-call.js'
import { type WatchedBridge, watchBridge } from './watched-bridge.js'

/** The order of `main.ts`. */
export interface Job {
  isNamespace: boolean
  directory: string
  /** name of a client → folder of its packages */
  installed: Record<string, string>
  /** folder for all requests and outputs */
  trace?: string
}

export interface Result {
  name: string
  requests: number
  tookMs: number
  /** empty if all is right */
  problems: string[]
  /** error responses of the bridge */
  errors: string[]
  /** destinations other than loopback */
  rejected: string[]
}

/** Programs of libraries. */
const programs = ['ai-sdk-program.mjs', 'langchain-program.mjs', 'mastra-program.mjs']
/** Ten times as long as the slowest client takes on two cores. */
const timeoutMs = 240_000

const [jobFile = '', resultsFile = ''] = process.argv.slice(2)
const job: Job = JSON.parse(await readFile(jobFile, 'utf8'))
const results: Result[] = []
const guard = await (job.isNamespace ? guardNamespace() : guardByProxy())
const standIn = await startStandIn()
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    killClients()
    void cleanUp().finally(() => process.exit(1))
  })
}
try {
  const server = await startServer(job, standIn)
  const bridge = await watchBridge(server.url)
  for (const client of [...clients, ...moreClients]) {
    const packages = job.installed[client.name]
    if (packages === undefined) continue
    console.log(`runs ${client.name}`)
    results.push(await tryClient(client, packages, { server, bridge, standIn, guard }))
  }
  await bridge.close()
} finally {
  await cleanUp()
  await standIn.close()
  guard.close()
  await writeFile(resultsFile, JSON.stringify(results))
}
process.exit()

async function startServer({ directory }: Job, { url }: StandIn): Promise<ServeProcess> {
  const server = await startOnBusyMachine(join(directory, 'data'))
  const key = { env: { PROVIDER_KEY: 'sk-the-central-key' } }
  const add = (...args: string[]) =>
    runJson(['providers', 'add', ...args, '--key-env', 'PROVIDER_KEY', ...server.flags], key)
  await add('anthropic', '--base-url', url)
  await add('openai', '--type', 'openai', '--base-url', `${url}/v1`)
  return server
}

/** The programs around a client. */
interface Surroundings {
  server: ServeProcess
  bridge: WatchedBridge
  standIn: StandIn
  guard: NetworkGuard
}

/** Starts the server. The first database takes longer than its deadline when other programs need all cores. */
async function startOnBusyMachine(dataDir: string): Promise<ServeProcess> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await startServe(dataDir)
    } catch (error) {
      if (attempt === 3) throw error
      console.log(`the server did not start: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
}

async function tryClient(
  client: Client,
  packages: string,
  { server, bridge, standIn, guard }: Surroundings,
): Promise<Result> {
  const user = client.name.toLowerCase().replaceAll(/[^a-z]+/g, '-')
  const key = await makeKey(user, server)
  const directory = await mkdtemp(join(job.directory, `${user}-`))
  const [home, project] = [join(directory, 'home'), join(directory, 'project')]
  await Promise.all([mkdir(home), mkdir(project)])
  const secret = `note-${randomBytes(6).toString('hex')}`
  const notePath = join(project, 'note.txt')
  const prompt = promptFor(notePath)
  await writeFile(notePath, `${secret}\n`)
  const place: Place = { packages, home, project, url: bridge.url, key, prompt, sessionId: randomUUID() }
  for (const [path, text] of Object.entries(client.files?.(place) ?? {})) {
    await mkdir(dirname(join(home, path)), { recursive: true })
    await writeFile(join(home, path), text)
  }
  // A program finds its packages from where it lies.
  for (const file of programs) await copyFile(join(import.meta.dirname, file), join(packages, file))

  guard.take()
  bridge.take()
  const [receivedBefore, givenBefore] = [standIn.received.length, standIn.given.length]
  const exit = await runClient({
    command: client.command(place),
    cwd: project,
    env: {
      PATH: `${packages}/node_modules/.bin:${process.env.PATH}`,
      HOME: home,
      TERM: 'dumb',
      NO_COLOR: '1',
      ...guard.env,
      ...client.env(place),
    },
    timeoutMs,
  })
  const rejected = guard.take()
  const errors = bridge.take()
  const given = standIn.given.slice(givenBefore)
  const records = await recordsOf(user, server.flags)
  if (job.trace !== undefined) {
    const text = JSON.stringify(
      { exit, rejected, errors, received: standIn.received.slice(receivedBefore), given, records },
      null,
      1,
    )
    await writeFile(join(job.trace, `${user}.json`), text)
  }
  const problems = differences(records, {
    client: client.recordedAs,
    sessionId: client.session === 'none' ? null : client.session(exit.stdout, place),
    provider: client.provider,
    credentialKind: client.credentialKind ?? 'centralized',
    prompt,
    given,
  })
  if (exit.end !== '0') {
    const words = `${exit.stderr}${exit.stdout}`.trim().split('\n').slice(-3).join(' ')
    problems.unshift(`the client ended with ${exit.end}: ${words.slice(-300)}`)
  }
  if (!exit.stdout.includes(`${secret}. Last words.`)) problems.push('the output lacks the last words')
  await rm(directory, { recursive: true, force: true })
  return { name: client.name, requests: records.length, tookMs: exit.tookMs, problems, errors, rejected }
}

async function makeKey(user: string, { flags }: ServeProcess): Promise<string> {
  await runJson(['users', 'create', user, ...flags])
  const { stdout, stderr } = await run(['keys', 'create', '--user', user, '--key-only', ...flags])
  if (stdout === '') throw new Error(`no key was made: ${stderr}`)
  return stdout.trim()
}
