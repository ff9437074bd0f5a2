/**
 * The embedded store where several processes, killed ones, or a first start are the subject. The processes run the
 * build.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { openEmbeddedStore } from '../../../../server/store/pglite/embedded.js'
import { nodeFlags } from '../../../e2e/process.js'
import { makeDataDir } from '../../../fixtures/data-dir.js'
import { interception } from '../records/records.js'

const inUse = { code: 'PRECONDITION_FAILED', reason: 'data_in_use' }

describe('one process per data directory', () => {
  test('a second process is rejected with the pid of the first, and starts after kill -9 of it', {
    timeout: 60_000,
  }, async () => {
    const dataDir = await dataDirectory()
    const first = await holder(dataDir)
    await expect(openEmbeddedStore({ dataDir })).rejects.toMatchObject({
      ...inUse,
      message: expect.stringMatching(new RegExp(`${dataDir} is in use by process ${first.pid} \\(.*since 20`)),
    })
    await kill(first)
    const second = await openEmbeddedStore({ dataDir })
    await second.ping()
    await second.close()
    expect(readdirSync(dataDir)).toEqual(['pg'])
  })

  test('of processes that race for a directory left by a killed one, exactly one wins each round', {
    timeout: 60_000,
  }, async () => {
    const dataDir = await temporaryDirectory()
    const racers = await Promise.all(Array.from({ length: 6 }, () => racer(dataDir)))
    for (let round = 0; round < 5; round++) {
      // What a killed holder leaves: a socket file that nobody listens on.
      await deadSocket(dataDir, `lock-1-${round}`)
      const outcomes = await Promise.all(racers.map(({ ask }) => ask('lock')))
      expect(outcomes.filter(outcome => outcome === 'won')).toHaveLength(1)
      expect(outcomes.filter(outcome => outcome === 'data_in_use')).toHaveLength(racers.length - 1)
      await Promise.all(racers.map(({ ask }) => ask('release')))
      expect(readdirSync(dataDir)).toEqual([])
    }
  })
})

describe('the first start', () => {
  /** in a long path, too long for a socket */
  let dataDir: string
  const messages: string[] = []
  let hadDatabase: boolean
  let leftOpen: string[]
  let modes: number[]
  let outcomes: unknown
  beforeAll(async () => {
    const directory = await mkdtemp(join(tmpdir(), 'aibridge-'))
    dataDir = join(directory, 'a'.repeat(120), 'data')
    const killed = spawnNode(`
      import { openEmbeddedStore } from ${dist('embedded.js')}
      await openEmbeddedStore({ dataDir: ${JSON.stringify(dataDir)} })`)
    await appears(dataDir, /^pg\.new-/, killed)
    await kill(killed)
    hadDatabase = existsSync(join(dataDir, 'pg'))
    const log = (_fields: object, message: string) => void messages.push(message)
    const store = await openEmbeddedStore({ dataDir, logger: { debug: log, info: log, warn: log, error: log } })
    modes = ['.', 'pg'].map(name => statSync(join(dataDir, name)).mode & 0o777)
    outcomes = await store.record([interception()])
    await store.close()
    leftOpen = readdirSync(dataDir)
    return () => rm(directory, { recursive: true, force: true })
  }, 60_000)

  test('the first start makes the directory for its owner only, in a long path too, and says that it creates a database', () => {
    expect(modes).toEqual([0o700, 0o700])
    expect(messages).toEqual(['creating the database'])
    expect(leftOpen).toEqual(['pg'])
  })

  test('the first start that is killed half-way leaves nothing that looks like a database, and the next one is whole', () => {
    expect(hadDatabase).toBe(false)
    expect(outcomes).toEqual([{ ok: true }])
  })
})

describe('durability', () => {
  test('no acknowledged record is lost by kill -9 in the middle of writing', { timeout: 60_000 }, async () => {
    const dataDir = await dataDirectory()
    const acknowledged: string[] = []
    for (let round = 0; round < 3; round++) {
      const writer = spawnNode(`
        import { randomUUID } from 'node:crypto'
        import { openEmbeddedStore } from ${dist('embedded.js')}
        const store = await openEmbeddedStore({ dataDir: ${JSON.stringify(dataDir)} })
        for (;;) {
          const id = randomUUID()
          const record = { id, initiatorId: id, apiKeyId: 'k', provider: 'p', providerName: 'p', model: 'm', startedAt: new Date(), credentialKind: 'byok' }
          const [outcome] = await store.record([{ kind: 'interception', record, contentHash: new Uint8Array(32) }])
          if (outcome.ok) process.stdout.write(id + '\\n')
        }`)
      let count = 0
      for await (const id of linesOf(writer)) {
        acknowledged.push(id)
        if (++count === 50) writer.kill('SIGKILL')
      }
    }
    const store = await openEmbeddedStore({ dataDir })
    const stored = await store.listInterceptions({ limit: 100_000 })
    expect(acknowledged.length).toBeGreaterThanOrEqual(150)
    expect(stored.map(({ id }) => id)).toEqual(expect.arrayContaining(acknowledged))
    await store.close()
  })
})

async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'aibridge-'))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  return directory
}

async function dataDirectory(): Promise<string> {
  const directory = await makeDataDir()
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  return directory
}

const children = new Set<ChildProcess>()
afterAll(() => {
  for (const child of children) child.kill('SIGKILL')
})

/** A module of the built store as a literal for an import. */
function dist(file: string): string {
  return JSON.stringify(pathToFileURL(join(import.meta.dirname, '../../../../dist/server/store/pglite', file)).href)
}

function spawnNode(script: string): ChildProcess {
  const child = spawn(process.execPath, [...nodeFlags, '--input-type=module', '-e', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  children.add(child)
  return child
}

function linesOf(child: ChildProcess): AsyncIterableIterator<string> {
  if (!child.stdout) throw new Error('the child has no stdout')
  return createInterface({ input: child.stdout })[Symbol.asyncIterator]()
}

async function kill(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

/** A process that has the store of `dataDir` open. */
async function holder(dataDir: string): Promise<ChildProcess> {
  const child = spawnNode(`
    import { openEmbeddedStore } from ${dist('embedded.js')}
    await openEmbeddedStore({ dataDir: ${JSON.stringify(dataDir)} })
    console.log('open')`)
  expect((await linesOf(child).next()).value).toBe('open')
  return child
}

/** A process that takes and releases the lock when it is asked to. */
async function racer(dataDir: string) {
  const child = spawnNode(`
    import { createInterface } from 'node:readline'
    import { lockDataDir } from ${dist('../../../shared/files/folder-lock.js')}
    let lock
    console.log('ready')
    for await (const line of createInterface({ input: process.stdin })) {
      if (line === 'lock') {
        lock = await lockDataDir(${JSON.stringify(dataDir)}).catch(error => ({ reason: error.reason ?? String(error) }))
        console.log(lock.reason ?? 'won')
      } else {
        await lock.release?.()
        console.log('released')
      }
    }`)
  const lines = linesOf(child)
  await lines.next()
  const ask = async (question: string): Promise<string> => {
    child.stdin?.write(`${question}\n`)
    return (await lines.next()).value
  }
  return { ask }
}

/** Leaves a socket file that a killed process would leave. */
async function deadSocket(directory: string, name: string): Promise<void> {
  const child = spawnNode(`
    import { createServer } from 'node:net'
    createServer().listen(${JSON.stringify(join(directory, name))}, () => console.log('listening'))`)
  await linesOf(child).next()
  await kill(child)
}

/** Resolves when a file whose name matches is in the directory; `maker` is the process that makes it. */
async function appears(directory: string, name: RegExp, maker: ChildProcess): Promise<void> {
  while (!(existsSync(directory) && readdirSync(directory).some(file => name.test(file)))) {
    if (maker.exitCode !== null) throw new Error(`the process ended with ${maker.exitCode} before it made ${name}`)
    await new Promise(resolve => setImmediate(resolve))
  }
}
