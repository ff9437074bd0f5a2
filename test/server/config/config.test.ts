import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Command } from 'commander'
import { afterEach, describe, expect, test } from 'vitest'
import { withDaemonOptions } from '../../../server/commands/daemon.js'
import { withServeOptions } from '../../../server/commands/serve.js'
import { clientConfig, daemonConfig, databaseUrlFrom, serveConfig } from '../../../server/config/config.js'

const directories: string[] = []
afterEach(async () => {
  for (const directory of directories.splice(0)) await rm(directory, { recursive: true })
})

async function configFile(content: object | string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'aibridge-'))
  directories.push(directory)
  const file = join(directory, 'config.json')
  await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content), { mode: 0o600 })
  return file
}

const door = {
  firstByteTimeoutMs: 600_000,
  idleTimeoutMs: 600_000,
  maxBodyBytes: 32 * 1024 * 1024,
  maxTotalBodyBytes: 512 * 1024 * 1024,
  bodyTimeoutMs: 30_000,
  clientTimeoutMs: 300_000,
  mcpCallTimeoutMs: 60_000,
  withheldHeaders: [],
  allowedOrigins: [],
  trustedProxies: [],
}

describe('serveConfig', () => {
  test('serveConfig has a default for everything', () => {
    expect(serveConfig({}, {})).toEqual({
      dataDir: join(homedir(), '.aibridge'),
      host: '127.0.0.1',
      port: 4100,
      logLevel: 'info',
      graceMs: 30_000,
      ...door,
      outboxFolder: join(homedir(), '.aibridge/outbox/local'),
      outboxFsync: 'interval',
      structuredLogging: false,
      recordContent: true,
      databaseUrl: undefined,
      databasePool: 10,
      advertiseUrl: undefined,
      acpProvider: 'demo',
      acpModel: 'demo',
      peerCaFile: undefined,
      retentionDays: 0,
      seeds: [],
      adminToken: undefined,
      encryptionKeys: undefined,
    })
  })

  test('the database is named by a flag, by BRIDGE_DATABASE_URL, or by DATABASE_URL', () => {
    const [flag, own, platform] = ['postgres://a/flag', 'postgresql://a/own', 'postgres://a/platform']
    const BRIDGE_ENCRYPTION_KEY = 'ab'.repeat(32)
    const environment = { BRIDGE_DATABASE_URL: own, DATABASE_URL: platform, BRIDGE_ENCRYPTION_KEY }
    expect(serveConfig({ databaseUrl: flag }, environment).databaseUrl).toBe(flag)
    expect(serveConfig({}, environment).databaseUrl).toBe(own)
    expect(serveConfig({}, { DATABASE_URL: platform, BRIDGE_ENCRYPTION_KEY }).databaseUrl).toBe(platform)
    expect(databaseUrlFrom({}, environment)).toBe(own)
    expect(() => databaseUrlFrom({}, {})).toThrow('--database-url: is missing')
  })

  test('a PostgreSQL database needs an encryption key', () => {
    const rejected = expect.objectContaining({
      reason: 'config_invalid',
      message: expect.stringMatching(/^BRIDGE_ENCRYPTION_KEY: is missing/),
    })
    expect(() => serveConfig({}, { DATABASE_URL: 'postgres://a/b' })).toThrow(rejected)
    serveConfig({}, { DATABASE_URL: 'postgres://a/b', BRIDGE_ENCRYPTION_KEY: 'ab'.repeat(32) })
  })

  test.each(['mysql://u:MARKED@h/d', 'MARKED', 'postgres://[MARKED'])('%j is no database, and is not repeated', url => {
    for (const [flags, environment] of [
      [{ databaseUrl: url }, {}],
      [{}, { DATABASE_URL: url }],
    ] as const) {
      const rejected = expect.objectContaining({
        reason: 'config_invalid',
        message: expect.stringMatching(/^(?!.*MARKED)(--database-url|DATABASE_URL): must be postgres:/),
      })
      expect(() => serveConfig(flags, environment)).toThrow(rejected)
      expect(() => databaseUrlFrom(flags, environment)).toThrow(rejected)
    }
  })

  test('a flag goes before its variable, and that before the file', async () => {
    const file = await configFile({
      port: 5000,
      host: 'file',
      graceMs: '7',
      structuredLogging: true,
      adminToken: 'x'.repeat(20),
    })
    const config = serveConfig({ config: file, port: '5001' }, { BRIDGE_HOST: 'variable', BRIDGE_PORT: '5002' })
    expect(config).toMatchObject({
      port: 5001,
      host: 'variable',
      graceMs: 7,
      structuredLogging: true,
      adminToken: 'x'.repeat(20),
    })
    expect(serveConfig({}, { BRIDGE_CONFIG: file })).toMatchObject({ port: 5000, host: 'file' })
  })

  test('every problem is told at once, with its source, and no secret', async () => {
    const file = await configFile({
      port: 'MINE',
      adminToken: 'MARKED',
      databaseUrl: 'MARKED',
      logLevel: ['x'],
      colour: 'red',
    })
    const problems = expect.objectContaining({
      reason: 'config_invalid',
      message: expect.not.stringContaining('MARKED'),
    })
    expect(() => serveConfig({ config: file, graceMs: 'x' }, { BRIDGE_DATABASE_POOL: '0' })).toThrow(problems)
    for (const part of [
      `port in ${file} "MINE": must be a whole number`,
      `adminToken in ${file}: must be 16 to 512`,
      `databaseUrl in ${file}: must be postgres:`,
      `logLevel in ${file} "[\\"x\\"]": must be one of`,
      '--grace-ms "x": must be a whole number',
      'BRIDGE_DATABASE_POOL "0": must be a whole number from 1 to 200',
      `colour in ${file}: no such setting; there are data, host,`,
    ]) {
      expect(() => serveConfig({ config: file, graceMs: 'x' }, { BRIDGE_DATABASE_POOL: '0' })).toThrow(part)
    }
  })

  test.each([
    ['{"adminToken": "MARKED', 'it is no JSON'],
    ['["MARKED"]', 'must hold a JSON object'],
  ])('a file that is no object of settings is rejected without its content: %j', async (text, problem) => {
    const file = await configFile(text)
    const rejected = expect.objectContaining({
      message: expect.stringMatching(new RegExp(`^(?!.*MARKED)--config .*${problem}`)),
    })
    expect(() => serveConfig({ config: file }, {})).toThrow(rejected)
    expect(() => serveConfig({ config: `${file}.missing` }, {})).toThrow('ENOENT')
  })

  test('the keys of providers in the environment are seeds', () => {
    const environment = {
      ANTHROPIC_API_KEY: ' sk-ant ',
      OPENAI_API_KEY: 'sk-oai',
      OPENAI_BASE_URL: 'https://proxy.example.com/v1',
    }
    expect(serveConfig({}, environment).seeds).toEqual([
      { type: 'anthropic', key: 'sk-ant', baseUrl: undefined },
      { type: 'openai', key: 'sk-oai', baseUrl: 'https://proxy.example.com/v1' },
    ])
    expect(serveConfig({}, { ANTHROPIC_BASE_URL: 'https://a' }).seeds).toEqual([])
    for (const bad of [
      { ANTHROPIC_API_KEY: 'MARKED key' },
      { ANTHROPIC_API_KEY: 'k', ANTHROPIC_BASE_URL: 'https://u:MARKED@h' },
    ]) {
      expect(() => serveConfig({}, bad)).toThrow(
        expect.objectContaining({
          reason: 'config_invalid',
          message: expect.stringMatching(/^(?!.*MARKED)ANTHROPIC_/),
        }),
      )
    }
  })

  test('a flag goes before its variable', () => {
    const environment = { BRIDGE_LOG_LEVEL: 'warn', BRIDGE_STRUCTURED_LOGGING: 'true' }
    expect(serveConfig({ logLevel: 'debug' }, environment)).toMatchObject({
      logLevel: 'debug',
      structuredLogging: true,
    })
  })

  test('an empty variable is an unset one', () => {
    expect(serveConfig({}, { BRIDGE_LOG_LEVEL: '', BRIDGE_ENCRYPTION_KEY: '', BRIDGE_ADMIN_TOKEN: '' })).toEqual(
      serveConfig({}, {}),
    )
  })

  test('a tilde that the shell left alone is the home directory', () => {
    expect(serveConfig({ data: '~/x' }, {}).dataDir).toBe(join(homedir(), 'x'))
  })

  test.each([
    [{ port: '65536' }, {}, '--port "65536": must be a whole number from 0 to 65535'],
    [{ port: '-1' }, {}, '--port "-1": must be a whole number from 0 to 65535'],
    [{ port: '4e3' }, {}, '--port "4e3": must be a whole number'],
    [{ graceMs: 'soon' }, {}, '--grace-ms "soon": must be a whole number from 0 to 2147483647'],
    [{ host: 'a b' }, {}, '--host "a b": must be a host name or an IP address'],
    [{ data: '' }, {}, '--data "": must not be empty'],
    [{ logLevel: 'loud' }, {}, '--log-level "loud": must be one of trace, debug, info'],
    [{}, { BRIDGE_LOG_LEVEL: 'loud' }, 'BRIDGE_LOG_LEVEL "loud": must be one of'],
    [{}, { BRIDGE_STRUCTURED_LOGGING: 'yes' }, 'BRIDGE_STRUCTURED_LOGGING "yes": must be true or false'],
  ])('%j with %j is rejected by name and value', (flags, environment, message) => {
    expect(() => serveConfig(flags, environment)).toThrow(
      expect.objectContaining({
        code: 'BAD_REQUEST',
        reason: 'config_invalid',
        message: expect.stringContaining(message),
      }),
    )
  })
})

test('a client needs a port that can be called', () => {
  expect(() => clientConfig({ port: '0' }, {})).toThrow('--port "0": must be a whole number from 1 to 65535')
})

test.each(['short', 'sixteen characters with spaces', `${'x'.repeat(16)}\n`])('%j is no admin token', token => {
  expect(() => clientConfig({}, { BRIDGE_ADMIN_TOKEN: token })).toThrow(/^BRIDGE_ADMIN_TOKEN: must be 16 to 512/)
})

describe('lists', () => {
  test('texts with commas between them, and arrays in the file, are lists', () => {
    const environment = { BRIDGE_TRUSTED_PROXIES: '10.0.0.0/8, ::1,', BRIDGE_WITHHELD_HEADERS: '["X-Team","x-corp-*"]' }
    expect(serveConfig({ allowedOrigins: 'https://a.example' }, environment)).toMatchObject({
      trustedProxies: ['10.0.0.0/8', '::1'],
      withheldHeaders: ['X-Team', 'x-corp-*'],
      allowedOrigins: ['https://a.example'],
    })
  })

  test.each([
    ['trustedProxies', '10.0.0.0/33'],
    ['trustedProxies', 'proxy.example'],
    ['trustedProxies', '10.0.0.1/8/8'],
    ['allowedOrigins', '*'],
    ['allowedOrigins', 'https://a.example/'],
    ['allowedOrigins', 'a.example'],
    ['withheldHeaders', '*'],
    ['withheldHeaders', 'x team'],
  ])('%s %j is rejected with the item', (name, value) => {
    expect(() => serveConfig({ [name]: `${value}` }, {})).toThrow(`${JSON.stringify(value)} is not `)
  })
})

describe('daemon', () => {
  const key = `${'a'.repeat(10)}-${'B'.repeat(22)}`

  test('daemon takes flags before the environment, and its own port', () => {
    expect(daemonConfig({ url: 'https://bridge.example.com/base', ca: 'ca.pem' }, { BRIDGE_DAEMON_KEY: key })).toEqual({
      url: 'https://bridge.example.com/base',
      key,
      caFile: resolve('ca.pem'),
      host: '127.0.0.1',
      port: 4101,
      logLevel: 'info',
      graceMs: 30_000,
      ...door,
      outboxFolder: join(homedir(), '.aibridge/outbox', key.slice(0, 10)),
      outboxFsync: 'interval',
      recordContent: true,
    })
    const other = `${'c'.repeat(10)}-${'D'.repeat(22)}`
    const environment = { BRIDGE_URL: 'http://10.0.0.1:4100', BRIDGE_DAEMON_KEY: key, BRIDGE_LOG_LEVEL: 'warn' }
    expect(daemonConfig({ key: other, port: '0' }, environment)).toMatchObject({
      url: 'http://10.0.0.1:4100',
      key: other,
      port: 0,
      logLevel: 'warn',
      caFile: undefined,
    })
  })

  test('the outbox has a folder of its own below the data directory, or is in memory', () => {
    const given = { url: 'https://a', key }
    expect(daemonConfig({ ...given, data: '/var/lib/x' }, {}).outboxFolder).toBe(
      `/var/lib/x/outbox/${key.slice(0, 10)}`,
    )
    expect(daemonConfig({ ...given, outbox: '~/o' }, {}).outboxFolder).toBe(join(homedir(), 'o'))
    expect(daemonConfig(given, { BRIDGE_OUTBOX: 'none' }).outboxFolder).toBeUndefined()
    expect(serveConfig({ data: '/var/lib/x' }, {}).outboxFolder).toBe('/var/lib/x/outbox/local')
    expect(serveConfig({ outbox: 'none' }, {}).outboxFolder).toBeUndefined()
    expect(() => serveConfig({ outboxFsync: 'sometimes' }, {})).toThrow('must be one of always, interval, never')
  })

  test('content is recorded unless the flag, its variable or the file says no, in this order', async () => {
    const given = { url: 'https://a', key }
    const file = await configFile({ content: false })
    expect(daemonConfig({ ...given, content: false }, { BRIDGE_CONTENT: 'true' }).recordContent).toBe(false)
    expect(daemonConfig({ ...given, content: true }, { BRIDGE_CONTENT: 'false' }).recordContent).toBe(true)
    expect(daemonConfig(given, { BRIDGE_CONTENT: 'false' }).recordContent).toBe(false)
    expect(daemonConfig({ ...given, config: file }, {}).recordContent).toBe(false)
    expect(serveConfig({ config: file }, {}).recordContent).toBe(false)
    expect(() => daemonConfig(given, { BRIDGE_CONTENT: 'off' })).toThrow('must be true or false')
  })

  test('--no-content says no, and without it nothing is said', () => {
    for (const withOptions of [withServeOptions, withDaemonOptions]) {
      const flags = (...words: string[]) => withOptions(new Command()).parse(words, { from: 'user' }).opts()
      expect(flags('--no-content')).toMatchObject({ content: false })
      expect(flags('--content')).toMatchObject({ content: true })
      expect(flags()).not.toHaveProperty('content')
    }
  })

  test.each([
    [{}, /^--url: is missing/],
    [{ url: 'bridge.example.com' }, /^--url: must begin with http/],
    [{ url: 'https://user:MARKED@bridge.example.com' }, /^(?!.*MARKED).*no credentials/],
    [{ url: 'https://bridge.example.com?key=MARKED' }, /^(?!.*MARKED).*query/],
    [{ url: 'ws://bridge.example.com' }, /^--url: must begin with http/],
    [{ url: 'http://' }, /^--url: must begin with http/],
    [{ url: 'https://a', port: '70000' }, /--port "70000"/],
  ])('%j is rejected', (flags, message) => {
    expect(() => daemonConfig({ key, ...flags }, {})).toThrow(
      expect.objectContaining({ reason: 'config_invalid', message: expect.stringMatching(message) }),
    )
  })

  test.each(['', 'MARKED', `${key}x`, ` ${key}`])('%j is no daemon key, and is not repeated', text => {
    for (const [flags, environment] of [
      [{ key: text }, {}],
      [{}, { BRIDGE_DAEMON_KEY: text }],
    ] as const) {
      expect(() => daemonConfig({ url: 'https://a', ...flags }, environment)).toThrow(
        expect.objectContaining({ reason: 'config_invalid', message: expect.not.stringContaining('MARKED') }),
      )
    }
  })
})
