/** The client end in a real browser, against `serveWebSockets`. */
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import type { ServeWebSocketsOptions } from '../../server/rpc/upgrade/listener-options.js'
import { ownError } from '../fixtures/own-reasons.js'
import { bundle } from './bundle.js'
import { startChromium } from './chromium.js'
import { findChromium, withoutChromium } from './find-chromium.js'
import { servePage } from './page-server.js'
import { type PageScope, program } from './pages.js'
import type { Router } from './router.js'

const executable = findChromium()

// `.ci/run` sets the variable once it has installed a browser.
test.runIf(process.env.BROWSER_TESTS === 'required')('a browser that was installed for the tests is found', () => {
  expect(executable, withoutChromium).toBeDefined()
})

describe.skipIf(!executable)('a client in Chromium', () => {
  let browser: Browser
  let code: string
  let page: Page

  beforeAll(async () => {
    ;[browser, code] = await Promise.all([startChromium(executable ?? ''), bundle(program)])
  })
  afterAll(() => browser?.close())
  beforeEach(async () => {
    const context = await browser.newContext()
    onTestFinished(() => context.close())
    page = await context.newPage()
  })

  /** A server whose page is open in the browser. */
  async function serve(options: Partial<ServeWebSocketsOptions<Router, string>> = {}) {
    const served = await servePage(code, options)
    await page.goto(`${served.origin}/page`)
    return served
  }

  /** Connects the page. */
  function connect(options: {
    url: string
    connectionParams?: Record<string, string>
    maxMessageBytes?: number
    pingIntervalMs?: number
    pongTimeoutMs?: number
  }): Promise<void> {
    return page.evaluate(given => {
      const scope = globalThis as unknown as PageScope // the program's
      const { connect, createDuplexClient, webSocketDial } = scope.aibridge
      const connection = connect({ dial: webSocketDial(given) })
      const states: string[] = []
      connection.onStateChange(state => states.push(state))
      const client = createDuplexClient<Router>({ connection, transformer: scope.superjson })
      scope.kept = { connection, client, states, events: [] }
    }, options)
  }

  /** Calls a query in the page; returns its value, or the code and reason of its error. */
  const ask = (name: 'whoami' | 'hang'): Promise<unknown> =>
    page.evaluate(procedure => {
      const { kept } = globalThis as unknown as PageScope // the program's
      return kept.client[procedure].query().catch(error => `${error.data.code} ${error.data.reason}`)
    }, name)

  const closed = () => page.evaluate(() => (globalThis as unknown as PageScope).kept.connection.closed)

  test('values arrive as superjson carries them, and no policy against eval is breached', async () => {
    const { url } = await serve()
    await connect({ url })
    const result = await page.evaluate(async () => {
      const { kept, superjson, violations } = globalThis as unknown as PageScope // the program's
      const value = { date: new Date(7), map: new Map([['a', 2n ** 70n]]), set: new Set([undefined]), text: 'é𝄞\u0000' }
      const echoed = await kept.client.echo.mutate(value)
      const asText = (thing: unknown) => JSON.stringify(superjson.serialize(thing))
      const before = [...violations]
      try {
        new Function('')
      } catch {
        return { isSame: asText(echoed) === asText(value), violations: before, eval: 'rejected' }
      }
      return 'the page has no policy against eval'
    })
    expect(result).toEqual({ isSame: true, violations: [], eval: 'rejected' })
  })

  test('1,000 calls are in flight at once, each gets its own response', async () => {
    const { url, slowCalls } = await serve()
    await connect({ url })
    const values = await page.evaluate(() => {
      const { kept } = globalThis as unknown as PageScope // the program's
      return Promise.all(Array.from({ length: 1000 }, (_, index) => kept.client.slow.query(index)))
    })
    expect(values).toEqual(Array.from({ length: 1000 }, (_, index) => index))
    expect(slowCalls.most).toBe(1000)
  })

  test('a subscription goes on behind its last event when the server drops the connection', async () => {
    const { url, cut, resumedAfter } = await serve()
    await connect({ url })
    await page.evaluate(() => {
      const { kept } = globalThis as unknown as PageScope // the program's
      kept.client.count.subscribe({}, { onData: ({ data }) => kept.events.push(data) })
    })
    const events = () => page.evaluate(() => (globalThis as unknown as PageScope).kept.events)
    for (let cuts = 1; cuts <= 2; cuts++) {
      const seen = (await events()).length
      await expect.poll(async () => (await events()).length).toBeGreaterThan(seen + 10)
      cut()
      await expect.poll(() => resumedAfter.length).toBe(cuts + 1)
    }
    const seen = await events()
    expect(seen).toEqual(Array.from(seen, (_, index) => index + 1))
    expect(resumedAfter[0]).toBeUndefined()
    expect(resumedAfter[2]).toBeGreaterThan(resumedAfter[1] ?? Number.POSITIVE_INFINITY)
  })

  /** Knows one key. */
  const authenticate: ServeWebSocketsOptions<Router, string>['authenticate'] = ({ authorization }) => {
    if (authorization === 'Bearer GOOD') return 'ann'
    if (authorization === 'Bearer REVOKED') throw ownError('ticket_revoked', 'not any more')
    throw ownError('ticket_invalid', 'no such key')
  }

  test('a key in connectionParams is the identity', async () => {
    const { url } = await serve({ authenticate })
    await connect({ url, connectionParams: { authorization: 'Bearer GOOD' } })
    expect(await ask('whoami')).toBe('ann')
  })

  test.each([
    ['Bearer UNKNOWN', 4401, 'UNAUTHORIZED ticket_invalid'],
    ['Bearer REVOKED', 4403, 'FORBIDDEN ticket_revoked'],
  ])('the rejected key %s stops the client with %i and %s, after one dial', async (authorization, closeCode, error) => {
    const { url, upgrades } = await serve({ authenticate })
    await connect({ url, connectionParams: { authorization } })
    expect(await closed()).toMatchObject({ code: closeCode })
    expect(await ask('whoami')).toBe(error)
    expect(upgrades()).toBe(1)
  })

  test('a page of another origin gets no connection, and its calls fail at their deadline', async () => {
    const { url, rejected, group } = await serve({ allowedOrigins: ['https://ops.example.com'] })
    await connect({ url })
    await expect.poll(() => rejected.map(({ reason }) => reason)).toContain('origin_not_allowed')
    const error = await page.evaluate(async () => {
      const { kept } = globalThis as unknown as PageScope // the program's
      return kept.client.whoami.query(undefined, { context: { timeoutMs: 1 } }).catch(({ data }) => data)
    })
    expect(error).toMatchObject({ code: 'TIMEOUT', mayHaveRun: false })
    // The page dials again meanwhile, and an upgrade counts until it is rejected.
    await expect.poll(() => group.connections).toBe(0)
  })

  test('a message above maxMessageBytes fails its call alone, or the connection that receives it', async () => {
    const { url, upgrades } = await serve()
    await connect({ url, maxMessageBytes: 100_000 })
    const send = (procedure: 'echo' | 'text') =>
      page.evaluate(name => {
        const { client } = (globalThis as unknown as PageScope).kept
        const call = name === 'echo' ? client.echo.mutate('x'.repeat(150_000)) : client.text.mutate(200_000)
        return call.catch(error => error.message)
      }, procedure)
    expect(await send('echo')).toMatch(/^message of 150,\d{3} bytes is larger than maxMessageBytes 100,000$/)
    expect([await ask('whoami'), upgrades()]).toEqual(['nobody', 1])
    expect(await send('text')).toMatch(/message of 200,\d{3} bytes is larger than maxMessageBytes 100,000 \(1009\)$/)
    expect([await ask('whoami'), upgrades()]).toEqual(['nobody', 2])
  })

  test('a cancelled call aborts its procedure', async () => {
    const { url, begun, aborted } = await serve()
    await connect({ url })
    await page.evaluate(() => {
      const { kept } = globalThis as unknown as PageScope // the program's
      const controller = new AbortController()
      const call = kept.client.hang.query(undefined, { signal: controller.signal })
      kept.result = { controller, call: call.catch(({ data }) => data) }
    })
    await begun.passed
    const error = page.evaluate(() => {
      const { kept } = globalThis as unknown as PageScope // the program's
      const { controller, call } = kept.result as { controller: AbortController; call: Promise<unknown> } // kept above
      controller.abort()
      return call
    })
    expect(await error).toMatchObject({ code: 'CLIENT_CLOSED_REQUEST', mayHaveRun: true })
    await aborted.passed
  })

  test('a server that drains moves the page: the call in flight ends, the next one goes elsewhere', async () => {
    const { url, begun, release, group, replace } = await serve()
    await connect({ url })
    const inFlight = ask('hang')
    await begun.passed
    const other = replace().group
    const drained = group.close({ graceMs: 10_000 })
    await expect.poll(() => other.connections).toBe(1)
    expect(await ask('whoami')).toBe('nobody')
    release.open()
    expect(await inFlight).toBe('released')
    expect(await drained).toEqual({ drained: 1, aborted: 0 })
    expect(other.connections).toBe(1)
  })

  test('a page that goes offline notices, and its waiting call runs when the page is back', async () => {
    const { url, cut } = await serve()
    await connect({ url, pingIntervalMs: 200, pongTimeoutMs: 100 })
    await ask('whoami')
    await page.context().setOffline(true)
    await page.waitForFunction(() => (globalThis as unknown as PageScope).kept.states.includes('waiting'))
    const call = ask('whoami')
    cut()
    await page.context().setOffline(false)
    expect(await call).toBe('nobody')
  })

  test('a page that is left leaves no connection at the server', async () => {
    const { url, group, begun, aborted } = await serve()
    await connect({ url })
    void ask('hang').catch(() => {})
    await begun.passed
    await page.goto('about:blank')
    await aborted.passed
    await expect.poll(() => [group.connections, group.calls]).toEqual([0, 0])
  })

  test('a closed connection is closed at both ends', async () => {
    const { url, group } = await serve()
    await connect({ url })
    await ask('whoami')
    const reason = await page.evaluate(() => (globalThis as unknown as PageScope).kept.connection.close())
    expect(reason).toEqual({ code: 1000, message: 'closed by this side' })
    await expect.poll(() => group.connections).toBe(0)
  })
})
