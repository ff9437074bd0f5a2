import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { ensureSecrets, readAdminToken } from '../../server/commands/secrets.js'
import { type Environment, serveConfig } from '../../server/config.js'
import { cleanUp, temporaryDirectory } from '../e2e/process.js'

const logger = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() }
const ensure = (dataDir: string, environment: Environment = {}) =>
  ensureSecrets(serveConfig({ data: dataDir }, environment), logger)

afterEach(async () => {
  vi.clearAllMocks()
  await cleanUp()
})

describe('ensureSecrets', () => {
  test('makes a directory and two files that only the owner may read', async () => {
    const dataDir = join(await temporaryDirectory(), 'a/b')
    const secrets = await ensure(dataDir)
    expect((await stat(dataDir)).mode & 0o777).toBe(0o700)
    for (const name of ['admin-token', 'encryption-key'])
      expect((await stat(join(dataDir, name))).mode & 0o777).toBe(0o600)
    expect(await readFile(join(dataDir, 'admin-token'), 'utf8')).toBe(`${secrets.adminToken}\n`)
    expect(secrets.encryptionKeys).toEqual([expect.objectContaining({ length: 32 })])
    expect((await readdir(dataDir)).sort()).toEqual(['admin-token', 'encryption-key'])
  })

  test('answers the same the next time', async () => {
    const dataDir = await temporaryDirectory()
    expect(await ensure(dataDir)).toEqual(await ensure(dataDir))
  })

  test('answers one secret to all of twenty that start at once', async () => {
    const dataDir = await temporaryDirectory()
    const all = await Promise.all(Array.from({ length: 20 }, () => ensure(dataDir)))
    expect(new Set(all.map(({ adminToken }) => adminToken)).size).toBe(1)
    expect(new Set(all.map(({ encryptionKeys }) => String(encryptionKeys))).size).toBe(1)
    expect((await readdir(dataDir)).sort()).toEqual(['admin-token', 'encryption-key'])
  })

  test('makes no file for what the environment gives', async () => {
    const dataDir = await temporaryDirectory()
    const secrets = await ensure(dataDir, {
      BRIDGE_ADMIN_TOKEN: 'x'.repeat(20),
      BRIDGE_ENCRYPTION_KEY: 'ab'.repeat(32),
    })
    expect(secrets).toEqual({ adminToken: 'x'.repeat(20), encryptionKeys: [new Uint8Array(32).fill(0xab)] })
    expect(await readdir(dataDir)).toEqual([])
  })

  test('never makes a new key for a database that has lost its own', async () => {
    const dataDir = await temporaryDirectory()
    await mkdir(join(dataDir, 'pg'))
    await expect(ensure(dataDir)).rejects.toMatchObject({
      reason: 'config_invalid',
      message: expect.stringContaining(`${join(dataDir, 'encryption-key')}: missing`),
    })
    expect(await readdir(dataDir)).toEqual(['pg'])
  })

  test('warns of a secret that others may read', async () => {
    const dataDir = await temporaryDirectory()
    await ensure(dataDir)
    await chmod(join(dataDir, 'admin-token'), 0o644)
    await ensure(dataDir)
    expect(logger.warn).toHaveBeenCalledExactlyOnceWith(
      { path: join(dataDir, 'admin-token'), mode: '644' },
      expect.stringContaining('chmod 600'),
    )
  })

  test('says which file holds no secret', async () => {
    const dataDir = await temporaryDirectory()
    await writeFile(join(dataDir, 'encryption-key'), '')
    await expect(ensure(dataDir)).rejects.toThrow(`${join(dataDir, 'encryption-key')}: key 1 must be 32 bytes`)
  })

  test('says that the data directory cannot be used', async () => {
    const dataDir = await temporaryDirectory()
    await writeFile(join(dataDir, 'file'), '')
    await expect(ensure(join(dataDir, 'file/x'))).rejects.toMatchObject({
      reason: 'config_invalid',
      message: expect.stringContaining(`--data "${join(dataDir, 'file/x')}": cannot be used`),
    })
  })
})

test('a directory without a token is no error for a command', async () => {
  expect(await readAdminToken('/nowhere')).toBeUndefined()
})
