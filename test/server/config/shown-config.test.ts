import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { fileWarning, shownConfig } from '../../../server/config/shown-config.js'
import { caFile } from '../../fixtures/tls-proxy.js'

const encryptionKey = 'ab'.repeat(32)
const daemonKey = `${'k'.repeat(10)}-${'s'.repeat(22)}`

let directory: string
let data: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aibridge-'))
  data = join(directory, 'data')
})
afterEach(() => rm(directory, { recursive: true }))

async function configFile(content: object): Promise<string> {
  const file = join(directory, 'config.json')
  await writeFile(file, JSON.stringify(content), { mode: 0o600 })
  return file
}

/** Writes a secret into the data directory and returns its path. */
async function secretFile(name: string, content: string): Promise<string> {
  await mkdir(data, { recursive: true })
  await writeFile(join(data, name), `${content}\n`, { mode: 0o600 })
  return join(data, name)
}

describe('config check', () => {
  test('config check shows the value of every setting and its source, and no secret', async () => {
    const file = await configFile({ port: 5000, databaseUrl: 'postgres://u:MARKED@h/d' })
    const environment = { BRIDGE_GRACE_MS: '5', BRIDGE_ENCRYPTION_KEY: encryptionKey }
    const shown = await shownConfig('serve', { config: file, host: '::1', data, content: false }, environment)
    expect(JSON.stringify(shown)).not.toMatch(/MARKED|abab/)
    const rows = Object.fromEntries(shown.map(({ name, value, source }) => [name, [value, source]]))
    expect(rows).toMatchObject({
      config: [file, '--config'],
      port: [5000, `port in ${file}`],
      host: ['::1', '--host'],
      content: [false, '--no-content'],
      graceMs: [5, 'BRIDGE_GRACE_MS'],
      databaseUrl: ['set', `databaseUrl in ${file}`],
      encryptionKey: ['set', 'BRIDGE_ENCRYPTION_KEY'],
      adminToken: [null, 'not set'],
      databasePool: [10, 'default'],
    })
    const ofDaemon = await shownConfig('daemon', { url: 'https://a.example.com' }, { BRIDGE_DAEMON_KEY: daemonKey })
    expect(ofDaemon).toContainEqual({ name: 'url', value: 'https://a.example.com', source: '--url', file: null })
    expect(ofDaemon).toContainEqual({ name: 'key', value: 'set', source: 'BRIDGE_DAEMON_KEY', file: null })
  })

  test('config check shows the files in use, and that missing ones are missing', async () => {
    const file = await configFile({ port: 5000 })
    const token = await secretFile('admin-token', 'MARKED-admin-token')
    const shown = await shownConfig('serve', { data }, { BRIDGE_CONFIG: file })
    expect(JSON.stringify(shown)).not.toContain('MARKED')
    expect(shown.filter(row => row.file !== null)).toEqual([
      { name: 'config', value: file, source: 'BRIDGE_CONFIG', file: { path: file, state: 'present', mode: '600' } },
      { name: 'adminToken', value: 'set', source: token, file: { path: token, state: 'present', mode: '600' } },
      {
        name: 'encryptionKey',
        value: null,
        source: 'not set',
        file: { path: join(data, 'encryption-key'), state: 'missing', mode: null },
      },
    ])
    const ofDaemon = await shownConfig('daemon', { url: 'https://a', key: daemonKey, ca: caFile }, {})
    expect(ofDaemon.filter(row => row.file !== null)).toMatchObject([
      { name: 'ca', value: caFile, source: '--ca', file: { path: caFile, state: 'present' } },
    ])
  })

  test.each<[string, () => Promise<unknown>, RegExp]>([
    ['a setting is missing', () => shownConfig('daemon', {}, {}), /^--url: is missing/],
    [
      'a PostgreSQL database has no encryption key',
      () => shownConfig('serve', {}, { DATABASE_URL: 'postgres://a/b' }),
      /^BRIDGE_ENCRYPTION_KEY: is missing/,
    ],
    [
      'a file of the data directory holds no secret',
      async () => shownConfig('serve', { data: join(await secretFile('admin-token', 'MARKED'), '..') }, {}),
      /admin-token: must be 16 to 512(?!.*MARKED)/,
    ],
    [
      'a file of the data directory cannot be read',
      async () => {
        await mkdir(join(data, 'encryption-key'), { recursive: true })
        await shownConfig('serve', { data }, {})
      },
      /encryption-key: cannot be read: EISDIR/,
    ],
    [
      'the certificate authority is no certificate',
      () => shownConfig('daemon', { url: 'https://a', key: daemonKey, ca: import.meta.filename }, {}),
      /^--ca .*: holds no certificate/,
    ],
  ])('config check fails as the command would: %s', async (_, check, message) => {
    await expect(check()).rejects.toMatchObject({
      reason: 'config_invalid',
      message: expect.stringMatching(message),
    })
  })
})

test('a configuration file with a secret that other users may read is warned of', async () => {
  const file = await configFile({ adminToken: 'x'.repeat(20), port: 1 })
  await chmod(file, 0o644)
  expect(fileWarning({ config: file }, {})).toBe(
    `${file} holds adminToken and other users may read it (mode 644): chmod 600 ${file}`,
  )
  await chmod(file, 0o600)
  expect(fileWarning({ config: file }, {})).toBeUndefined()
  expect(fileWarning({}, {})).toBeUndefined()
})
