/** How commands reach a server: on this machine, and behind a proxy that ends TLS. */
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { withAdmin } from '../../../../server/commands/common/admin-client.js'
import type { CommonOptions } from '../../../../server/commands/common/options.js'
import { addUsersCommands } from '../../../../server/commands/users.js'
import type { Store } from '../../../../server/store/store.js'
import { RpcError } from '../../../../shared/rpc/errors.js'
import { cleanUp, temporaryDirectory } from '../../../e2e/process.js'
import { caFile, startTlsProxy } from '../../../fixtures/tls-proxy.js'
import { adminToken, oneStore, rejectionOf, startServer } from '../../services/running-server.js'

const store = oneStore()

let data: string
beforeEach(async () => {
  data = await temporaryDirectory()
  for (const name of ['BRIDGE_URL', 'BRIDGE_CA', 'BRIDGE_ADMIN_TOKEN', 'BRIDGE_HOST', 'BRIDGE_PORT'])
    vi.stubEnv(name, '')
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await cleanUp()
})

const listUsers = (options: CommonOptions) => withAdmin({ data, ...options }, ({ users }) => users.list.query())

async function listeningServer(): Promise<number> {
  const { server } = await startServer(store())
  return Number(new URL((await server.listen({ host: '127.0.0.1', port: 0 })).url).port)
}

/** What a command with these options fails with. */
const failureWith = (options: CommonOptions) => rejectionOf(listUsers(options))

describe('a server behind a TLS proxy', () => {
  test('a server behind a TLS proxy is reached by --url and --ca, with a path or without, with the token of the environment or of the data directory', async () => {
    const port = await listeningServer()
    const [plain, below] = [await startTlsProxy({ port }), await startTlsProxy({ port, path: '/team/aibridge' })]
    vi.stubEnv('BRIDGE_ADMIN_TOKEN', adminToken)
    const users = await listUsers({ port: String(port) })
    expect(await listUsers({ url: plain, ca: caFile })).toEqual(users)
    expect(await listUsers({ url: `${plain}/`, ca: caFile })).toEqual(users)
    vi.stubEnv('BRIDGE_ADMIN_TOKEN', '')
    await writeFile(join(data, 'admin-token'), adminToken)
    expect(await listUsers({ url: below, ca: caFile })).toEqual(users)
  })

  test('a server behind a TLS proxy is reached by BRIDGE_URL and BRIDGE_CA; --port goes before them', async () => {
    const port = await listeningServer()
    vi.stubEnv('BRIDGE_ADMIN_TOKEN', adminToken)
    vi.stubEnv('BRIDGE_URL', await startTlsProxy({ port }))
    vi.stubEnv('BRIDGE_CA', caFile)
    const printed = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
    onTestFinished(() => printed.mockRestore())
    const program = new Command('aibridge').exitOverride()
    addUsersCommands(program)
    await program.parseAsync(['users', 'create', 'remote', '--json'], { from: 'user' })
    expect(JSON.parse(String(printed.mock.lastCall?.[0]))).toMatchObject({ username: 'remote' })
    expect(await failureWith({ port: String(await closedPort()) })).toMatchObject({ reason: 'server_unreachable' })
  })

  test('a server behind a TLS proxy whose authority is unknown is not called, and --ca is named', async () => {
    const url = await startTlsProxy({ port: await listeningServer() })
    expect(await failureWith({ url })).toEqual({
      code: 'SERVICE_UNAVAILABLE',
      reason: 'server_unreachable',
      message: `the certificate of ${url} is of no authority that this machine trusts (UNABLE_TO_VERIFY_LEAF_SIGNATURE); name the file of its authority with --ca`,
    })
  })

  test.each([
    ['a certificate for another host', {}, 'https://0.0.0.0', 'is for another host'],
    ['http:// to a port that speaks TLS', {}, 'http://localhost', 'try https:// if a proxy ends TLS there'],
    ['https:// to a port that speaks none', { tls: false }, 'https://localhost', 'no TLS is spoken at'],
    [
      'a path that the proxy does not know',
      { path: '/a' },
      'https://localhost',
      'check the host, the port and the path',
    ],
    ['a proxy that drops upgrades', { upgrades: false }, 'https://localhost', 'drops WebSocket upgrades'],
  ])('%s is named in one line', async (_, options, origin, problem) => {
    const { port } = new URL(await startTlsProxy({ port: await listeningServer(), ...options }))
    const failure = await failureWith({ url: `${origin}:${port}`, ca: caFile })
    expect(failure).toMatchObject({ reason: 'server_unreachable', message: expect.stringContaining(problem) })
    expect(failure.message).toMatch(/^[^\n]+$/)
  })

  test.each([
    [{ ca: '/no/such/file' }, '--ca "/no/such/file": cannot be read: ENOENT'],
    [{ ca: import.meta.filename }, 'holds no certificate in PEM'],
    [{ url: 'https://a', port: '1' }, '--url and --port: both say where the server is; leave one of them out'],
    [{ url: 'ftp://a' }, '--url: must begin with http:// or https://'],
    [{ url: 'https://u:MARKED@a' }, '--url: must begin with http:// or https:// and have no credentials'],
  ])('%j is rejected before any call', async (options, message) => {
    const failure = await failureWith({ url: 'https://a', ...options })
    expect(failure).toMatchObject({ reason: 'config_invalid', message: expect.stringContaining(message) })
    expect(failure.message).not.toContain('MARKED')
  })
})

describe('the admin token', () => {
  test('the admin token that is missing is asked for by its file and its variable', async () => {
    const port = await listeningServer()
    expect(await failureWith({ port: String(port) })).toEqual({
      code: 'UNAUTHORIZED',
      reason: 'key_missing',
      message: `no admin token: BRIDGE_ADMIN_TOKEN is not set and ${data}/admin-token does not exist; give the server's data directory with --data, or its token in BRIDGE_ADMIN_TOKEN`,
    })
    expect(await failureWith({ url: `http://127.0.0.1:${port}` })).toMatchObject({
      message: expect.stringContaining(
        "set BRIDGE_ADMIN_TOKEN to the server's token, which is in DATA/admin-token on its machine",
      ),
    })
  })

  test('the admin token of another server is rejected without being shown', async () => {
    const port = String(await listeningServer())
    await writeFile(join(data, 'admin-token'), 'MARKED-token-of-another-server')
    const ofFile = await failureWith({ port })
    expect(ofFile).toMatchObject({
      code: 'UNAUTHORIZED',
      message: expect.stringContaining(`rejects the admin token of ${data}/admin-token`),
    })
    vi.stubEnv('BRIDGE_ADMIN_TOKEN', 'MARKED-token-of-the-environment')
    const ofVariable = await failureWith({ port })
    expect(ofVariable.message).toContain('rejects the admin token of BRIDGE_ADMIN_TOKEN')
    expect(JSON.stringify([ofFile, ofVariable])).not.toContain('MARKED')
  })
})

describe('without a server', () => {
  test('a command says how to start one', async () => {
    expect(await failureWith({ port: String(await closedPort()) })).toEqual({
      code: 'SERVICE_UNAVAILABLE',
      reason: 'server_unreachable',
      message: expect.stringMatching(
        /^no server responds at http:\/\/127\.0\.0\.1:\d+ \(ECONNREFUSED\); start one with: .* serve --data \S+ --port \d+$/,
      ),
    })
  })

  test('a host without an address is named', async () => {
    const failure = await failureWith({ url: 'http://nowhere.invalid' })
    expect(failure).toMatchObject({
      message: expect.stringMatching(/^no host has the name in http:\/\/nowhere\.invalid /),
    })
  })

  test('something else on the port is no server', async () => {
    const other = createServer((_request, response) => response.writeHead(418).end('<html>'))
    other.listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo // it listens on TCP
    onTestFinished(() => void other.close())
    expect(await failureWith({ port: String(port) })).toMatchObject({
      reason: 'server_unreachable',
      message: expect.stringContaining(`the server at http://127.0.0.1:${port} is not aibridge (HTTP status 418)`),
    })
  })
})

describe('a database that does not respond', () => {
  const fail = async (mayHaveRun: boolean) => {
    throw new RpcError('INTERNAL_SERVER_ERROR', 'the database could not respond', { mayHaveRun })
  }

  test.each([true, false])('a command that changes something says whether it may have: %s', async mayHaveRun => {
    const failing: Store = { ...store(), audited: () => fail(mayHaveRun), listUsers: () => fail(mayHaveRun) }
    const { server } = await startServer(failing)
    const { url } = await server.listen({ host: '127.0.0.1', port: 0 })
    vi.stubEnv('BRIDGE_ADMIN_TOKEN', adminToken)
    const create = withAdmin({ data, url }, ({ users }) => users.create.mutate({ username: 'ada' }))
    await expect(create).rejects.toMatchObject({ mayHaveRun })
    // A query changes nothing.
    await expect(listUsers({ url })).rejects.toMatchObject({ code: 'INTERNAL_SERVER_ERROR', mayHaveRun: undefined })
  })
})

async function closedPort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // it listens on TCP
  server.close()
  await once(server, 'close')
  return port
}
