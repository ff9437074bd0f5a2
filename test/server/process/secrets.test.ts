import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { serveConfig } from '../../../server/config/config.js'
import type { Environment } from '../../../server/config/sources.js'
import { ensureSecrets, keyFileRotation, readAdminToken } from '../../../server/process/secrets.js'
import { cleanUp, temporaryDirectory } from '../../e2e/process.js'

const logger = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() }
const ensure = (dataDir: string, environment: Environment = {}) =>
  ensureSecrets({ ...serveConfig({ data: dataDir }, environment), logger })

afterEach(async () => {
  vi.clearAllMocks()
  await cleanUp()
})

describe('ensureSecrets', () => {
  test('ensureSecrets makes a directory and two files that only the owner may read', async () => {
    const dataDir = join(await temporaryDirectory(), 'a/b')
    const secrets = await ensure(dataDir)
    expect((await stat(dataDir)).mode & 0o777).toBe(0o700)
    for (const name of ['admin-token', 'encryption-key'])
      expect((await stat(join(dataDir, name))).mode & 0o777).toBe(0o600)
    expect(await readFile(join(dataDir, 'admin-token'), 'utf8')).toBe(`${secrets.adminToken}\n`)
    expect(secrets.encryptionKeys).toEqual([expect.objectContaining({ length: 32 })])
    expect((await readdir(dataDir)).sort()).toEqual(['admin-token', 'encryption-key'])
  })

  test('ensureSecrets returns the same the next time', async () => {
    const dataDir = await temporaryDirectory()
    const { rotateKeys: _, ...secrets } = await ensure(dataDir)
    expect(await ensure(dataDir)).toMatchObject(secrets)
  })

  test('ensureSecrets returns one secret to all of twenty that start at once', async () => {
    const dataDir = await temporaryDirectory()
    const all = await Promise.all(Array.from({ length: 20 }, () => ensure(dataDir)))
    expect(new Set(all.map(({ adminToken }) => adminToken)).size).toBe(1)
    expect(new Set(all.map(({ encryptionKeys }) => String(encryptionKeys))).size).toBe(1)
    expect((await readdir(dataDir)).sort()).toEqual(['admin-token', 'encryption-key'])
  })

  test('ensureSecrets makes no file for what the environment gives', async () => {
    const dataDir = await temporaryDirectory()
    const secrets = await ensure(dataDir, {
      BRIDGE_ADMIN_TOKEN: 'x'.repeat(20),
      BRIDGE_ENCRYPTION_KEY: 'ab'.repeat(32),
    })
    expect(secrets).toEqual({ adminToken: 'x'.repeat(20), encryptionKeys: [new Uint8Array(32).fill(0xab)] })
    expect(await readdir(dataDir)).toEqual([])
  })

  test('ensureSecrets never makes a new key for a database that has lost its own', async () => {
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

  test('ensureSecrets says which file holds no secret', async () => {
    const dataDir = await temporaryDirectory()
    await writeFile(join(dataDir, 'encryption-key'), '')
    await expect(ensure(dataDir)).rejects.toThrow(`${join(dataDir, 'encryption-key')}: key 1 must be 32 bytes`)
  })

  test('ensureSecrets says that the data directory cannot be used', async () => {
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

describe('the key file of a server that rotates its key', () => {
  const keysIn = async (dataDir: string) =>
    (await readFile(join(dataDir, 'encryption-key'), 'utf8'))
      .trim()
      .split(',')
      .map(key => [...Buffer.from(key, 'base64')])
  async function server() {
    const dataDir = await temporaryDirectory()
    const { encryptionKeys } = await ensure(dataDir)
    await mkdir(join(dataDir, 'pg/base'), { recursive: true })
    await writeFile(join(dataDir, 'pg/base/file'), 'data')
    return { dataDir, old: encryptionKeys, rotate: keyFileRotation(dataDir, encryptionKeys) }
  }
  const bytes = (keys: readonly Uint8Array[]) => keys.map(key => [...key])

  test('the key file of a server that rotates its key holds NEW,OLD from the begin and NEW alone from the end, and only the owner may read it', async () => {
    const { dataDir, old, rotate } = await server()
    const { keys, finish } = await rotate()
    expect(keys).toHaveLength(2)
    expect(keys[1]).toEqual(old[0])
    expect(keys[0]).not.toEqual(old[0])
    expect(await keysIn(dataDir)).toEqual(bytes(keys))
    expect((await ensure(dataDir)).encryptionKeys).toEqual(keys)
    await finish()
    expect(await keysIn(dataDir)).toEqual(bytes(keys.slice(0, 1)))
    expect((await stat(join(dataDir, 'encryption-key'))).mode & 0o777).toBe(0o600)
    expect((await readdir(dataDir)).sort()).toEqual(['admin-token', 'encryption-key', 'pg'])
  })

  test('a rotation that was not finished goes on with the same keys, in this process and in the next', async () => {
    const { dataDir, rotate } = await server()
    const { keys } = await rotate()
    expect((await rotate()).keys).toEqual(keys)
    const next = keyFileRotation(dataDir, (await ensure(dataDir)).encryptionKeys)
    const again = await next()
    expect(again.keys).toEqual(keys)
    await again.finish()
    expect(await keysIn(dataDir)).toEqual(bytes(keys.slice(0, 1)))
    expect((await next()).keys[1]).toEqual(keys[0])
  })

  test('drafts that a killed process left are removed', async () => {
    const { dataDir, rotate } = await server()
    await writeFile(join(dataDir, 'encryption-key.123.0123abcd'), 'key')
    await rotate()
    expect((await readdir(dataDir)).sort()).toEqual(['admin-token', 'encryption-key', 'pg'])
  })

  test('a key file with other keys than the server has is left alone', async () => {
    const { dataDir, rotate } = await server()
    const path = join(dataDir, 'encryption-key')
    await writeFile(path, Buffer.alloc(32, 3).toString('base64'))
    await expect(rotate()).rejects.toMatchObject({
      reason: 'config_invalid',
      message: `${path}: was changed since the server has read it; restart the server`,
    })
    expect(await keysIn(dataDir)).toEqual([Array.from({ length: 32 }, () => 3)])
  })
})
