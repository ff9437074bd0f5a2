import { hash, randomUUID } from 'node:crypto'
import { v7 as uuidv7 } from 'uuid'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createMcpConfigurator, type McpConfigurator } from '../../../server/services/daemon/mcp-configurator.js'
import { createSecretBox } from '../../../server/services/secrets.js'
import { tokenPlace } from '../../../server/services/tools/token-secrets.js'
import type { Store } from '../../../server/store/store.js'
import { type OAuthServer, startOAuthServer, startStandIn } from '../../fixtures/oauth-server.js'
import { stores } from '../../fixtures/stores.js'
import {
  admin,
  daemon,
  deployments,
  oneStore,
  recordingLogger,
  rejectionOf,
  startServer,
} from '../services/running-server.js'

let oauth: OAuthServer
beforeAll(async () => {
  oauth = await startOAuthServer()
})
afterAll(() => oauth.close())

const past = () => new Date(Date.now() - 1_000)
const future = () => new Date(Date.now() + 3_600_000)
const uniqueId = (prefix: string) => `${prefix}-${uuidv7().slice(-12)}`

describe.each(deployments)('$name', deployment => {
  const store = oneStore(deployment)

  async function connect() {
    const running = await startServer(store(), {}, deployment)
    const { admin: operator } = running.connect(admin)
    const { mcpConfigurator } = running.connect(daemon)
    const user = await operator.users.create.mutate({ username: uniqueId('ada') })
    const oauthServer = {
      tokenUrl: oauth.tokenUrl,
      validateUrl: oauth.validateUrl,
      clientId: oauth.clientId,
      clientSecret: oauth.clientSecret,
    }
    return {
      ...running,
      operator,
      user,
      /** a server with tokens of the real authorization server */
      async linked(expiresAt?: Date): Promise<{ id: string; accessToken: string; refreshToken: string }> {
        const id = uniqueId('s')
        await operator.mcpServers.upsert.mutate({ id, url: 'https://mcp.example.com/mcp', ...oauthServer })
        const tokens = await oauth.issue()
        const link = { user: user.id, serverId: id, ...tokens, ...(expiresAt && { expiresAt }) }
        await operator.externalAuthLinks.set.mutate(link)
        return { id, ...tokens }
      },
      tokens: (...serverIds: string[]) =>
        mcpConfigurator.getServerAccessTokensBatch.query({ userId: user.id, serverIds }),
      rejected: (id: string, token: string) =>
        mcpConfigurator.getServerAccessTokensBatch.query({
          userId: user.id,
          serverIds: [id],
          rejectedTokens: { [id]: hash('sha256', token) },
        }),
      configs: () => mcpConfigurator.getServerConfigs.query({ userId: user.id }),
    }
  }

  test('servers are listed for daemons, sorted, without anything of their OAuth', async () => {
    const { operator, configs } = await connect()
    const url = 'https://mcp.example.com/mcp'
    const [b, a] = [`b-${randomUUID().slice(0, 8)}`, 'constructor']
    await operator.mcpServers.upsert.mutate({
      id: b,
      url,
      toolAllowRegex: '^read_',
      toolDenyRegex: 'secret$',
      inject: true,
      clientSecret: 'MARKED',
    })
    await operator.mcpServers.upsert.mutate({ id: a, url })
    const { servers } = await configs()
    expect(servers.filter(({ id }) => id === a || id === b)).toEqual([
      { id: b, url, toolAllowRegex: '^read_', toolDenyRegex: 'secret$', inject: true, needsToken: false },
      { id: a, url, toolAllowRegex: null, toolDenyRegex: null, inject: false, needsToken: false },
    ])
    expect(servers.map(({ id }) => id)).toEqual(servers.map(({ id }) => id).toSorted())
    const list = await operator.mcpServers.list.query()
    expect(list.find(({ id }) => id === b)).toMatchObject({ hasClientSecret: true })
    expect(JSON.stringify(list)).not.toContain('MARKED')
    expect(await operator.mcpServers.remove.mutate({ id: a })).toEqual({})
    expect(await rejectionOf(operator.mcpServers.remove.mutate({ id: a }))).toMatchObject({ reason: 'unknown_row' })
  })

  test('what is left out of a server that is there stays, and goes with null', async () => {
    const { operator } = await connect()
    const id = uniqueId('s')
    const { upsert } = operator.mcpServers
    const all = {
      toolAllowRegex: '^read_',
      toolDenyRegex: 'secret$',
      inject: true,
      tokenUrl: 'https://id.example.com/token',
      clientId: 'bridge',
      validateUrl: 'https://id.example.com/me',
    }
    const url = 'https://mcp.example.com/mcp'
    await upsert.mutate({ id, url, ...all, clientSecret: 'MARKED' })
    const moved = `${url}/2`
    expect(await upsert.mutate({ id, url: moved })).toMatchObject({ ...all, url: moved, hasClientSecret: true })
    const { entries } = await operator.audit.list.query({ action: 'mcpServers.upsert', target: id })
    expect(entries.map(({ details }) => details)).toEqual([
      { url: moved, ...all },
      { url, ...all },
    ])
    // A token URL is of no use without the client's id, wherever the two come from.
    const rejected = { code: 'BAD_REQUEST', message: expect.stringContaining('clientId') }
    expect(await rejectionOf(upsert.mutate({ id, url, clientId: null }))).toMatchObject(rejected)
    expect(await rejectionOf(upsert.mutate({ id: `${id}-2`, url, tokenUrl: all.tokenUrl }))).toMatchObject(rejected)
    expect((await operator.mcpServers.list.query()).filter(row => row.id.startsWith(id))).toMatchObject([
      { ...all, url: moved },
    ])
    const nothing = { toolAllowRegex: null, toolDenyRegex: null, tokenUrl: null, clientId: null, validateUrl: null }
    expect(await upsert.mutate({ id, url, ...nothing, inject: false, clientSecret: null })).toMatchObject({
      ...nothing,
      inject: false,
      hasClientSecret: false,
    })
  })

  test.each(['(', '[a', '(a+)+', '((a|b)*x)*', '(?i)a', '(a{2,})+', `${'a'.repeat(513)}`])(
    'the pattern %j is rejected when it is configured',
    async pattern => {
      const { operator } = await connect()
      for (const field of ['toolAllowRegex', 'toolDenyRegex']) {
        const call = operator.mcpServers.upsert.mutate({ id: 'x', url: 'https://a', [field]: pattern })
        expect(await rejectionOf(call)).toMatchObject({ code: 'BAD_REQUEST', message: expect.stringContaining(field) })
      }
    },
  )

  test('a good token is given, and a revoked one is refreshed once, with both tokens replaced', async () => {
    const { linked, tokens } = await connect()
    const [good, revoked] = [await linked(future()), await linked()]
    await oauth.revokeAccess(revoked.accessToken)
    const granted = oauth.granted()
    const { accessTokens, errors } = await tokens(good.id, revoked.id, good.id)
    expect(errors).toEqual({})
    expect(accessTokens).toEqual({ [good.id]: good.accessToken, [revoked.id]: expect.any(String) })
    expect(accessTokens[revoked.id]).not.toBe(revoked.accessToken)
    expect(oauth.granted()).toBe(granted + 1)
    // The new token is stored, and so is the new refresh token: the old one would revoke all.
    expect(await tokens(revoked.id)).toEqual({ accessTokens: { [revoked.id]: accessTokens[revoked.id] }, errors: {} })
    await oauth.revokeAccess(accessTokens[revoked.id] ?? '')
    expect((await tokens(revoked.id)).errors).toEqual({})
    expect(oauth.granted()).toBe(granted + 2)
  })

  test('a token that a daemon saw rejected is refreshed, and no other', async () => {
    const { linked, tokens, rejected } = await connect()
    const link = await linked(future())
    const granted = oauth.granted()
    expect((await rejected(link.id, 'another token')).accessTokens).toEqual({ [link.id]: link.accessToken })
    expect(oauth.granted()).toBe(granted)
    const { accessTokens } = await rejected(link.id, link.accessToken)
    expect(oauth.granted()).toBe(granted + 1)
    expect(accessTokens[link.id]).not.toBe(link.accessToken)
    // A daemon that is late with the same report gets the new token.
    expect((await rejected(link.id, link.accessToken)).accessTokens).toEqual(accessTokens)
    expect((await tokens(link.id)).accessTokens).toEqual(accessTokens)
    expect(oauth.granted()).toBe(granted + 1)
  })

  test('the secret of a user’s sessions is the same for each daemon, and another for each user', async () => {
    const [one, other] = [await connect(), await connect()]
    const { sessionSecret = '' } = await one.configs()
    expect(Buffer.from(sessionSecret, 'base64url')).toHaveLength(32)
    expect((await one.configs()).sessionSecret).toBe(sessionSecret)
    expect((await other.configs()).sessionSecret).not.toBe(sessionSecret)
  })

  test('an expired token is refreshed, one that can not be is told as such, once', async () => {
    const { linked, tokens } = await connect()
    const [expired, revoked] = [await linked(past()), await linked(past())]
    await oauth.revokeRefresh(revoked.refreshToken)
    const rejected = oauth.rejected()
    const answer = await tokens(expired.id, revoked.id)
    expect(answer.errors).toEqual({ [revoked.id]: 'expired_or_invalid' })
    expect(Object.keys(answer.accessTokens)).toEqual([expired.id])
    expect((await tokens(revoked.id)).errors).toEqual({ [revoked.id]: 'expired_or_invalid' })
    expect(oauth.rejected()).toBe(rejected + 1)
  })

  test('what is unknown, or not linked, is told for each; nothing asked for is nothing answered', async () => {
    const { operator, linked, tokens } = await connect()
    const { id } = await linked()
    const [unlinked, unknown] = [uniqueId('u'), uniqueId('x')]
    await operator.mcpServers.upsert.mutate({ id: unlinked, url: 'https://a' })
    const { accessTokens, errors } = await tokens(unknown, id, unlinked, unknown)
    expect(Object.keys(accessTokens)).toEqual([id])
    expect(errors).toEqual({ [unknown]: 'unknown_server', [unlinked]: 'no_link' })
    expect(await tokens()).toEqual({ accessTokens: {}, errors: {} })
    expect(await rejectionOf(tokens('No Slug'))).toMatchObject({ code: 'BAD_REQUEST' })
  })

  test('links are kept without showing a token, audited, and forgotten with their server', async () => {
    const { operator, user, linked, logger } = await connect()
    const { id, accessToken, refreshToken } = await linked(future())
    const links = await operator.externalAuthLinks.list.query({ user: user.username })
    expect(links).toMatchObject([{ userId: user.id, serverId: id, hasRefreshToken: true }])
    const { entries } = await operator.audit.list.query({ target: user.id })
    expect(entries.map(({ action }) => action)).toContain('externalAuthLinks.set')
    for (const text of [JSON.stringify(links), JSON.stringify(entries), logger.text()]) {
      expect(text).not.toContain(accessToken)
      expect(text).not.toContain(refreshToken)
    }
    await operator.externalAuthLinks.remove.mutate({ user: user.id, serverId: id })
    const removed = rejectionOf(operator.externalAuthLinks.remove.mutate({ user: user.id, serverId: id }))
    expect(await removed).toMatchObject({ code: 'NOT_FOUND' })
    const link = { user: user.id, serverId: uniqueId('none'), accessToken: 'a' }
    expect(await rejectionOf(operator.externalAuthLinks.set.mutate(link))).toMatchObject({ reason: 'unknown_row' })
  })
})

describe.each(stores)('the token batch on $name', ({ openTwo }) => {
  let pair: [Store, Store]
  const secrets = createSecretBox([new Uint8Array(32).fill(3)])
  beforeAll(async () => {
    pair = await openTwo()
  })
  afterAll(() => Promise.all(pair.map(store => store.close())))

  const logger = recordingLogger()
  function configurator(store: Store, options: { timeoutMs?: number; leaseMs?: number } = {}): McpConfigurator {
    const { timeoutMs = 5_000, leaseMs = 30_000 } = options
    return createMcpConfigurator({
      store,
      secrets,
      logger,
      tokenValidationTimeoutMs: timeoutMs,
      refreshLeaseMs: leaseMs,
    })
  }

  async function link(server: { validateUrl?: string; tokenUrl?: string; expiresAt?: Date } = {}) {
    const [store] = pair
    const [userId, serverId] = [randomUUID(), uniqueId('s')]
    await store.upsertMcpServer({
      id: serverId,
      url: 'https://a',
      toolAllowRegex: null,
      toolDenyRegex: null,
      tokenUrl: server.tokenUrl ?? null,
      clientId: 'bridge',
      validateUrl: server.validateUrl ?? null,
    })
    const place = { userId, serverId }
    await store.setAuthLink({
      ...place,
      accessToken: secrets.seal('MARKED-access', tokenPlace(place, 'accessToken')),
      refreshToken: secrets.seal('MARKED-refresh', tokenPlace(place, 'refreshToken')),
      expiresAt: server.expiresAt ?? null,
    })
    return { userId, serverId }
  }

  test('a token of the batch is refreshed once when many ask at once, in two processes', async () => {
    let refreshes = 0
    const server = await startStandIn((_request, response) => {
      refreshes++
      setTimeout(() => response.end(JSON.stringify({ access_token: 'new', refresh_token: 'r2', expires_in: 3600 })), 50)
    })
    const { userId, serverId } = await link({ tokenUrl: server.url, expiresAt: past() })
    const both = pair.map(store => configurator(store))
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        both[index % 2]?.getServerAccessTokensBatch({ userId, serverIds: [serverId] }),
      ),
    )
    for (const answer of answers) expect(answer).toEqual({ accessTokens: { [serverId]: 'new' }, errors: {} })
    expect(refreshes).toBe(1)
    await server.close()
  })

  test('a lease that its holder left behind ends by itself', async () => {
    const server = await startStandIn((_request, response) => {
      response.end(JSON.stringify({ access_token: 'new', expires_in: 3600 }))
    })
    const { userId, serverId } = await link({ tokenUrl: server.url, expiresAt: past() })
    const [row] = await pair[0].listAuthLinks({ userId })
    const refreshToken = row?.refreshToken ?? new Uint8Array()
    const dead = { userId, serverId, refreshToken, lease: randomUUID(), leaseMs: 300 }
    expect(await pair[0].claimRefresh(dead)).toBe(true)
    expect(await pair[0].claimRefresh({ ...dead, lease: randomUUID() })).toBe(false)
    const { accessTokens } = await configurator(pair[1]).getServerAccessTokensBatch({ userId, serverIds: [serverId] })
    expect(accessTokens).toEqual({ [serverId]: 'new' })
    // Whoever lost the lease stores nothing.
    const late = { accessToken: new Uint8Array([1]), refreshToken: null, expiresAt: null }
    expect(await pair[0].finishRefresh(dead, late)).toBe(false)
    await server.close()
  })

  test('one bad server fails by itself, in time: slow, broken, strange, redirecting, unreachable', async () => {
    const slow = await startStandIn(() => {})
    const broken = await startStandIn((_request, response) => response.writeHead(500).end('MARKED-body'))
    const strange = await startStandIn((_request, response) => response.end('x'.repeat(100_000)))
    const redirecting = await startStandIn((_request, response) => {
      response.writeHead(302, { location: `${broken.url}/elsewhere` }).end()
    })
    const good = await startStandIn((request, response) => {
      response.writeHead(request.headers.authorization === 'Bearer MARKED-access' ? 204 : 401).end()
    })
    const gone = 'http://127.0.0.1:9/'
    const cases: [object, string][] = [
      [{ validateUrl: slow.url }, 'timed_out'],
      [{ tokenUrl: slow.url, expiresAt: past() }, 'timed_out'],
      [{ validateUrl: broken.url }, 'validation_failed'],
      [{ tokenUrl: broken.url, expiresAt: past() }, 'validation_failed'],
      [{ tokenUrl: strange.url, expiresAt: past() }, 'validation_failed'],
      [{ validateUrl: redirecting.url }, 'validation_failed'],
      [{ tokenUrl: redirecting.url, expiresAt: past() }, 'validation_failed'],
      [{ validateUrl: gone }, 'validation_failed'],
      [{ expiresAt: past() }, 'expired_or_invalid'],
      [{ validateUrl: good.url }, 'MARKED-access'],
    ]
    const links = await Promise.all(cases.map(([server]) => link(server)))
    // One user has them all.
    const [store] = pair
    const userId = randomUUID()
    for (const { serverId, userId: owner } of links) {
      const [row] = await store.listAuthLinks({ userId: owner })
      if (!row) throw new Error('the link is stored')
      const place = { userId, serverId }
      await store.setAuthLink({
        ...row,
        userId,
        accessToken: secrets.seal('MARKED-access', tokenPlace(place, 'accessToken')),
        refreshToken: secrets.seal('MARKED-refresh', tokenPlace(place, 'refreshToken')),
      })
    }
    const begun = performance.now()
    const { accessTokens, errors } = await configurator(store, { timeoutMs: 2_000 }).getServerAccessTokensBatch({
      userId,
      serverIds: links.map(({ serverId }) => serverId),
    })
    expect(performance.now() - begun).toBeLessThan(4_000) // two are slow, side by side
    expect(links.map(({ serverId }) => errors[serverId] ?? accessTokens[serverId])).toEqual(
      cases.map(([, outcome]) => outcome),
    )
    expect(logger.text()).not.toContain('MARKED')
    await Promise.all([slow, broken, strange, redirecting, good].map(server => server.close()))
  })

  test('a token that another encryption key sealed is no reason to fail the others', async () => {
    const { userId, serverId } = await link()
    const other = createMcpConfigurator({ store: pair[0], secrets: createSecretBox([new Uint8Array(32)]), logger })
    expect(await other.getServerAccessTokensBatch({ userId, serverIds: [serverId] })).toEqual({
      accessTokens: {},
      errors: { [serverId]: 'validation_failed' },
    })
  })
})
