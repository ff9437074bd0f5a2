/** A disk without room. A small disk takes root to mount; elsewhere a plan shows that the check asks the disk. */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { expect, onTestFinished, type TestContext, test } from 'vitest'
import { openStore } from '../../../../server/store/open/open-store.js'
import { openEmbeddedDatabase } from '../../../../server/store/pglite/embedded.js'
import { smallMemory, spilling } from '../../../../server/store/sql/readiness.js'
import type { Store } from '../../../../server/store/store.js'
import { makeDataDir } from '../../../fixtures/data-dir.js'
import { PostgresServer } from '../../../fixtures/postgres-server.js'
import { makeDatabase, silentLogger } from '../../../fixtures/stores.js'

/** Mounts an empty disk of a size; skips the test without the right to. */
function mountDisk(size: string, { skip }: TestContext): string {
  const directory = join(tmpdir(), `aibridge-disk-${process.pid}-${size}`)
  mkdirSync(directory, { recursive: true })
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', directory])
  onTestFinished(() => {
    if (status === 0) spawnSync('umount', ['--lazy', directory])
    rmSync(directory, { recursive: true, force: true })
  })
  skip(status !== 0, 'only root mounts a disk')
  return directory
}

/** Takes all room of a disk. */
function fill(directory: string): void {
  for (let file = 0; statfsSync(directory).bavail > 0 && file < 100; file++) {
    const { bavail, bsize } = statfsSync(directory)
    try {
      writeFileSync(join(directory, `fill-${file}`), Buffer.alloc(Math.min(bavail * bsize, 64 * 1024 * 1024)))
    } catch {
      // The file itself took the last page.
    }
  }
}

function empty(directory: string): void {
  for (let file = 0; existsSync(join(directory, `fill-${file}`)); file++) rmSync(join(directory, `fill-${file}`))
}

async function openEmbedded(directory: string): Promise<Store> {
  const dataDir = join(directory, 'data')
  cpSync(await makeDataDir(), dataDir, { recursive: true })
  return openStore({ dataDir })
}

async function openPostgres(directory: string): Promise<Store> {
  const server = await PostgresServer.create({}, directory)
  onTestFinished(() => server.remove())
  return openStore({ databaseUrl: server.url(), logger: silentLogger })
}

test.for([
  { name: 'embedded', size: '120m', open: openEmbedded },
  { name: 'PostgreSQL', size: '500m', open: openPostgres },
])('a store on a full disk is not ready, and is ready when the disk has room again: $name', async (row, context) => {
  const disk = mountDisk(row.size, context)
  const store = await row.open(disk)
  onTestFinished(() => store.close())
  await store.ping()
  fill(disk)
  await expect(store.ping()).rejects.toMatchObject({ cause: { code: '53100' } })
  empty(disk)
  await store.ping()
})

const explained = `explain (analyze, buffers, format json) ${spilling}`

async function planOfPostgres(): Promise<unknown> {
  const database = await makeDatabase()
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  await client.query(`begin; ${smallMemory}`)
  const { rows } = await client.query(explained)
  await client.end()
  await database.drop()
  return rows
}

async function planOfEmbedded(): Promise<unknown> {
  const dataDir = await makeDataDir()
  const { db, thread, release } = await openEmbeddedDatabase({ dataDir })
  await thread.query(smallMemory.replace('local ', ''), [])
  const { rows } = await thread.query(explained, [])
  await db.destroy()
  await release()
  await rm(dataDir, { recursive: true, force: true })
  return rows
}

test.each([
  ['embedded', planOfEmbedded],
  ['PostgreSQL', planOfPostgres],
])('the check of readiness writes to a temporary file: %s', async (_, planOf) => {
  expect(JSON.stringify(await planOf())).toMatch(/"Temp Written Blocks":(?!0\b)\d+/)
})
