/** Marks every secret, drives every path, and looks for the marks in all output, all tables and all files. */
import { readdir, readFile } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterEach, expect, onTestFinished, test, vi } from 'vitest'
import { createBridgeClient } from '../../client/bridge-client.js'
import { openEmbeddedDatabase } from '../../server/store/pglite/embedded.js'
import { openPostgresDatabase } from '../../server/store/postgres/postgres.js'
import { listening } from '../fixtures/listening.js'
import { makeDatabase, silentLogger } from '../fixtures/stores.js'
import { runWords } from '../server/commands/command-line.js'
import {
  cleanUp,
  dataDirectory,
  type RunningProcess,
  run,
  startDaemon,
  startServe,
  temporaryDirectory,
} from './process.js'

vi.setConfig({ testTimeout: 180_000, hookTimeout: 60_000 })

const adminToken = 'MARKED-admin-token-0123456789'
const encryptionKey = Buffer.from('MARKED-encryption-key-0123456789').toString('base64')
const providerKey = 'sk-MARKED-provider-key-0123456789'
const seedKey = 'sk-MARKED-seed-key-0123456789'
const byokKey = 'sk-MARKED-own-key-of-the-client'
const mcpSecrets = {
  CLIENT_SECRET: 'MARKED-client-secret',
  ACCESS: 'MARKED-access-token',
  REFRESH: 'MARKED-refresh-token',
}
const databasePassword = 'MARKED-database-password'

afterEach(async () => {
  vi.unstubAllEnvs()
  await cleanUp()
})

/** A provider that fails as providers do, with the key that it was shown in the response. */
const echoing: RequestListener = async (request, response) => {
  let body = ''
  for await (const chunk of request) body += chunk
  const shown = request.headers['x-api-key'] ?? request.headers.authorization
  if (body.includes('"ok"')) {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(
      JSON.stringify({ id: 'msg_1', type: 'message', content: [], usage: { input_tokens: 1, output_tokens: 1 } }),
    )
  } else if (body.includes('"die"')) request.socket.destroy()
  else
    response
      .writeHead(401, { 'content-type': 'application/json' })
      .end(JSON.stringify({ error: { message: `bad key ${shown}` } }))
}

test.each(['embedded', 'PostgreSQL'] as const)('no secret is in any output, table or file: %s', async kind => {
  const dataDir = await (kind === 'embedded' ? dataDirectory() : temporaryDirectory())
  const provider = createServer(echoing)
  const providerUrl = `http://127.0.0.1:${await listening(provider, { cut: true })}`
  const databaseUrl = kind === 'PostgreSQL' ? await emptyDatabase() : ''
  const environment = {
    BRIDGE_ADMIN_TOKEN: adminToken,
    BRIDGE_ENCRYPTION_KEY: encryptionKey,
    ANTHROPIC_API_KEY: seedKey,
    PROVIDER_KEY: providerKey,
    ...mcpSecrets,
    ...(databaseUrl && { DATABASE_URL: databaseUrl }),
  }
  const outputs: string[] = []
  /** what may be shown once, where it was made */
  const made: string[] = []
  const args = ['--log-level', 'trace', '--structured-logging']
  const server = await startServe(dataDir, { args, env: environment })
  // Commands run in this process: forty processes would load the program forty times.
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value)
  const command = async (...words: string[]) => {
    const { stdout, stderr } = await runWords([...words, ...server.flags])
    outputs.push(stdout, stderr)
    return stdout.trim()
  }
  const makeKey = async (...words: string[]) => {
    const { stdout } = await runWords([...words, '--key-only', ...server.flags])
    made.push(stdout.trim().slice(11))
    return stdout.trim()
  }

  await command('users', 'create', 'ada')
  const key = await makeKey('keys', 'create', '--user', 'ada')
  const daemonKey = await makeKey('daemon-keys', 'create', '--name', 'far', '--delegate')
  await command('providers', 'add', 'echo', '--base-url', providerUrl, '--key-env', 'PROVIDER_KEY')
  await command('providers', 'add', 'echo', '--base-url', `http://u:${providerKey}@h`, '--json')
  await command(
    'mcp',
    'add',
    'wiki',
    '--url',
    'https://a.example',
    '--token-url',
    providerUrl,
    '--client-id',
    'c',
    '--client-secret-env',
    'CLIENT_SECRET',
    '--validate-url',
    providerUrl,
  )
  await command(
    'mcp',
    'link',
    'wiki',
    '--user',
    'ada',
    '--access-token-env',
    'ACCESS',
    '--refresh-token-env',
    'REFRESH',
    '--expires',
    '1s',
  )
  const daemon = await startDaemon(server.url, daemonKey, { args: ['--log-level', 'trace'] })

  for (const { url } of [server, daemon] satisfies Pick<RunningProcess, 'url'>[]) {
    const ask = async (headers: Record<string, string>, body: string, path = '/bridge/echo/v1/messages') => {
      const response = await fetch(`${url}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body,
      })
      return { status: response.status, text: await response.text().catch(() => '') }
    }
    const message = (model: string) =>
      JSON.stringify({ model, max_tokens: 1, messages: [{ role: 'user', content: 'hi' }] })
    expect(await ask({ 'x-api-key': key }, message('ok'))).toMatchObject({ status: 200 })
    const unauthorized = await ask({ 'x-api-key': key }, message('no'))
    expect(unauthorized).toMatchObject({ status: 401, text: expect.stringContaining(`bad key ${'*'.repeat(33)}`) })
    outputs.push(unauthorized.text)
    // A client's own key comes back verbatim, and is not written down anywhere.
    expect(await ask({ 'x-api-key': byokKey, 'x-bridge-token': key }, message('no'))).toMatchObject({
      status: 401,
      text: expect.stringContaining(byokKey),
    })
    const rejected = [
      await ask({ 'x-api-key': key }, message('die')),
      await ask({ 'x-api-key': `${key.slice(0, 11)}${'x'.repeat(22)}` }, message('ok')),
      await ask({ authorization: `Bearer ${byokKey}` }, message('ok')),
      await ask({ 'x-api-key': key }, `{"${providerKey}": `),
      await ask({ 'x-api-key': key }, message('ok'), `/bridge/none/v1/messages?key=${byokKey}`),
      await ask({ authorization: `Bearer ${adminToken}` }, '', '/rpc'),
    ]
    outputs.push(...rejected.map(({ text }) => text))
    outputs.push(await (await fetch(`${url}/readyz`)).text())
  }
  // What a daemon asks for MCP: the expired token is refreshed at a server whose response repeats the request.
  const remote = createBridgeClient({ url: server.url, key: daemonKey })
  const { ownerId: userId } = await remote.authorizer.isAuthorized.query({ key })
  const batch = { userId, serverIds: ['wiki'] }
  expect(await remote.mcpConfigurator.getServerAccessTokensBatch.query(batch)).toEqual({
    accessTokens: {},
    errors: { wiki: 'validation_failed' },
  })
  await remote.close()
  await server.logged('a token could not be validated')
  for (const { url } of [server, daemon]) outputs.push(await (await fetch(`${url}/metrics`)).text())
  const [, id = ''] = /"id":"([^"]+)"/.exec(await command('interceptions', 'list', '--json')) ?? []
  expect(await command('interceptions', 'show', id)).toContain(userId)

  for (const words of [
    ['users', 'list'],
    ['keys', 'list'],
    ['daemon-keys', 'list'],
    ['providers', 'list', '--json'],
    ['mcp', 'list', '--json'],
    ['mcp', 'links', '--json'],
    ['usage', '--json'],
    ['audit', 'list', '--json', '--limit', '200'],
    ['config', 'check', 'serve', '--json'],
    ['secrets', 'rotate', '--json'],
    ['keys', 'revoke', key],
    ['keys', 'revoke', key.slice(0, 10)],
    ['daemon-keys', 'revoke', daemonKey.slice(0, 10)],
    ['users', 'suspend', 'ada'],
    ['providers', 'disable', 'echo'],
    ['mcp', 'unlink', 'wiki', '--user', 'ada'],
    ['providers', 'add', 'echo', '--type', providerKey],
    ['interceptions', 'list', '--user', byokKey],
  ]) {
    // A word that the operator types is not a secret of this program; only looked-up rows are searched.
    if (words.includes(providerKey) || words.includes(byokKey) || words.includes(key))
      await runWords([...words, ...server.flags])
    else await command(...words)
  }
  const wrong = await run(['users', 'list', ...server.flags], { env: { BRIDGE_ADMIN_TOKEN: `${adminToken}-wrong` } })
  outputs.push(wrong.stdout, wrong.stderr)
  expect(await daemon.exited).toEqual({ code: 1, signal: null })
  server.kill('SIGTERM')
  expect(await server.exited).toEqual({ code: 0, signal: null })
  outputs.push(server.stdout(), server.stderr(), daemon.stdout(), daemon.stderr())
  expect(outputs.join('')).toContain('interception log')

  const marks = [
    adminToken,
    encryptionKey,
    providerKey,
    seedKey,
    byokKey,
    ...(databaseUrl ? [new URL(databaseUrl).password] : []),
    ...Object.values(mcpSecrets),
    ...made,
  ]
  const places = new Map<string, Buffer>(outputs.map((text, index) => [`output ${index}`, Buffer.from(text)]))
  for (const [name, bytes] of await tables(kind, dataDir, databaseUrl)) places.set(name, bytes)
  for (const [name, bytes] of await files(dataDir)) places.set(name, bytes)
  const found = [...places].flatMap(([place, bytes]) =>
    marks.flatMap(mark =>
      [mark, Buffer.from(mark).toString('base64').replace(/=+$/, ''), Buffer.from(mark).toString('hex')]
        .filter(form => bytes.includes(form))
        .map(form => ({
          place,
          form,
          around: bytes.toString('latin1', Math.max(0, bytes.indexOf(form) - 80), bytes.indexOf(form) + 60),
        })),
    ),
  )
  expect(found).toEqual([])
})

/** An empty database whose URL has a password: that of the tests' server, or one that the server does not ask for. */
async function emptyDatabase(): Promise<string> {
  const database = await makeDatabase({ migrated: false })
  onTestFinished(database.drop)
  const url = new URL(database.url)
  url.password ||= databasePassword
  return url.href
}

/** Every table of the database as text. */
async function tables(kind: 'embedded' | 'PostgreSQL', dataDir: string, url: string): Promise<Map<string, Buffer>> {
  const embedded = kind === 'embedded' ? await openEmbeddedDatabase({ dataDir }) : undefined
  const db = embedded?.db ?? (await openPostgresDatabase({ url, logger: silentLogger }))
  const dumped = new Map<string, Buffer>()
  const { rows } = await sql<{
    name: string
  }>`select tablename as name from pg_tables where schemaname = 'public'`.execute(db)
  expect(rows.length).toBeGreaterThan(15)
  for (const { name } of rows) {
    const table = await sql<{ row: string }>`select row_to_json(t)::text as row from ${sql.table(name)} t`.execute(db)
    dumped.set(`table ${name}`, Buffer.from(table.rows.map(({ row }) => row).join('\n')))
  }
  await db.destroy()
  await embedded?.release()
  return dumped
}

/** Every file below the data directory. */
async function files(directory: string): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>()
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isFile()) found.set(path, await readFile(path))
  }
  return found
}
