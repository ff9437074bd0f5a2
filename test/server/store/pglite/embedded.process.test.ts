/**
 * The embedded store where several processes, killed ones, or a first start are the subject. The processes run the
 * build.
 */

import type { ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { openEmbeddedStore } from '../../../../server/store/pglite/embedded.js'
import { makeDataDir } from '../../../fixtures/data-dir.js'
import { built, kill, linesOf, scriptsOfSuite } from '../../../fixtures/script-process.js'
import { interception } from '../records/records.js'

const spawnNode = scriptsOfSuite()
const embedded = built('server/store/pglite/embedded.js')
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
    // PostgreSQL makes this database; shipped-database.process.test.ts has the packed one.
    const killed = spawnNode(`
      import { openEmbeddedDatabase } from ${embedded}
      await openEmbeddedDatabase({ dataDir: ${JSON.stringify(dataDir)}, shipped: new URL('none', import.meta.url) })`)
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

test('daemons of a server that was killed are not connected at the next start', async () => {
  const dataDir = await dataDirectory()
  const daemonInstance = randomUUID()
  // A close without a note is what a kill leaves.
  const killed = await openEmbeddedStore({ dataDir })
  const at = new Date('2026-03-04T05:06:07Z')
  await killed.recordDaemonsPresent([{ daemonInstance, daemonKeyId: null }], { server: randomUUID(), at })
  await killed.close()
  const store = await openEmbeddedStore({ dataDir })
  const absent = await store.listAbsentDaemons({ notSeenSince: new Date(), at: new Date(), limit: 9 })
  expect(absent).toMatchObject([{ daemonInstance, lastSeenAt: at, isConnected: false }])
  await store.close()
})

describe('durability', () => {
  test('no acknowledged record is lost by kill -9 in the middle of writing', { timeout: 60_000 }, async () => {
    const dataDir = await dataDirectory()
    const acknowledged: string[] = []
    for (let round = 0; round < 3; round++) {
      const writer = spawnNode(`
        import { randomUUID } from 'node:crypto'
        import { openEmbeddedStore } from ${embedded}
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

async function dataDirectory(): Promise<string> {
  const directory = await makeDataDir()
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  return directory
}

/** A process that has the store of `dataDir` open. */
async function holder(dataDir: string): Promise<ChildProcess> {
  const child = spawnNode(`
    import { openEmbeddedStore } from ${embedded}
    await openEmbeddedStore({ dataDir: ${JSON.stringify(dataDir)} })
    console.log('open')`)
  expect((await linesOf(child).next()).value).toBe('open')
  return child
}

/** Resolves when a file whose name matches is in the directory; `maker` is the process that makes it. */
async function appears(directory: string, name: RegExp, maker: ChildProcess): Promise<void> {
  while (!(existsSync(directory) && readdirSync(directory).some(file => name.test(file)))) {
    if (maker.exitCode !== null) throw new Error(`the process ended with ${maker.exitCode} before it made ${name}`)
    await new Promise(resolve => setImmediate(resolve))
  }
}
