/** The operator's page in Chromium, on a real server with a real bridge and the provider `demo`. */
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { startChromium } from '../browser/chromium.js'
import { findChromium } from '../browser/find-chromium.js'
import { adminToken } from '../server/services/running-server.js'
import { violationsOf } from './axe.js'
import { type Gateway, openGateway, openTab, signIn } from './running-page.js'
import { makeOthers, makePeople, makeProviders, makeTraffic } from './traffic.js'
import { viewsOf } from './views.js'

const executable = findChromium()

describe.skipIf(!executable)('an operator in the page', () => {
  let browser: Browser
  let gateway: Gateway
  let context: BrowserContext
  let page: Page
  let problems: string[]
  let owners: Awaited<ReturnType<typeof makePeople>>
  let views: Record<string, string>

  beforeAll(async () => {
    ;[browser, gateway] = await Promise.all([startChromium(executable ?? ''), openGateway()])
    await makeProviders(gateway)
    owners = await makePeople(gateway)
    await makeTraffic(gateway, owners, { days: 3, perDay: 30 })
    const { chat } = await makeOthers(gateway, owners)
    const { interceptions } = await gateway.operator.interceptions.list.query({ limit: 100 })
    const threaded = interceptions.find(({ parentId }) => parentId !== null) ?? interceptions[0]
    views = viewsOf({ interception: threaded?.id ?? '', chat })
    ;({ context, page, problems } = await openTab(browser))
    await signIn(page, gateway.origin, adminToken)
  })
  afterAll(async () => {
    await browser?.close()
    await gateway?.close()
  })
  // Errors of scripts, and breaches of the policy.
  afterEach(() => expect(problems.splice(0)).toEqual([]))

  /** Goes to a view as a link of the page does, and waits for its rows. */
  async function open(path: string, tab = page): Promise<void> {
    await tab.evaluate(
      `history.pushState(null, '', ${JSON.stringify(path)}); dispatchEvent(new PopStateEvent('popstate'))`,
    )
    await tab.locator('main h1').first().waitFor()
    await tab.locator('.loading').first().waitFor({ state: 'detached' })
  }

  /** A key made for a user by the server, not by the page. */
  const keyOf = (index: number): string => owners[index]?.key ?? ''

  test('a wrong key is rejected with a sentence, and a session begins with the right one', async () => {
    const tab = await openTab(browser)
    onTestFinished(() => tab.context.close())
    await tab.page.goto(`${gateway.origin}/users`)
    await tab.page.getByLabel('Admin token or key').fill('wrong')
    await tab.page.getByRole('button', { name: 'Sign in' }).click()
    await tab.page.getByText('This key is not valid').waitFor()
    expect(await violationsOf(tab.page)).toEqual([])
    await tab.page.getByLabel('Admin token or key').fill(adminToken)
    await tab.page.getByRole('button', { name: 'Sign in' }).click()
    await tab.page.getByRole('heading', { name: 'Users' }).waitFor()
    expect(new URL(tab.page.url()).pathname).toBe('/users')
    expect(tab.problems).toEqual([])
  })

  test('a request appears in the list within a second, and in the detail with its tokens', async () => {
    await open('/interceptions')
    await page.getByText('Live', { exact: true }).waitFor()
    const model = `demo-${randomUUID().slice(0, 6)}`
    await gateway.ask(keyOf(0), 'How live is this?', model)
    const row = page.getByRole('row').filter({ hasText: model })
    await row.waitFor({ timeout: 1_000 })
    await row.getByText('Done').waitFor()
    await row.click()
    await page.getByRole('heading', { name: model }).waitFor()
    await page.getByText('How live is this?').waitFor()
    await page.getByText('tokens', { exact: true }).first().waitFor()
  })

  test('a request that does not fit the filters stays out, and the filters stand in the address', async () => {
    await open('/interceptions')
    await page.getByLabel('Model', { exact: true }).fill('demo-filtered')
    await expect.poll(() => new URL(page.url()).search).toBe('?model=demo-filtered')
    await page.getByText('No request fits these filters').waitFor()
    await gateway.ask(keyOf(0), 'other', 'demo-other')
    await gateway.ask(keyOf(0), 'mine', 'demo-filtered')
    await page.getByRole('row').filter({ hasText: 'demo-filtered' }).waitFor()
    expect(await page.getByRole('row').filter({ hasText: 'demo-other' }).count()).toBe(0)
    await page.getByRole('button', { name: 'Clear filters' }).click()
    await page.getByRole('row').filter({ hasText: 'demo-other' }).waitFor()
  })

  test('a key made in the page works at the bridge, and stops when the page revokes it', async () => {
    await open('/keys')
    await page.getByRole('button', { name: 'New key' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('User').selectOption('linus')
    await dialog.getByLabel('Name').fill('made in the page')
    await dialog.getByRole('button', { name: 'Make the key' }).click()
    const key = (await dialog.getByLabel('The new key').textContent()) ?? ''
    expect((await gateway.ask(key)).status).toBe(200)
    await expect(dialog.getByLabel('Command for').textContent()).resolves.toContain(key)
    expect(await violationsOf(page)).toEqual([])
    await dialog.getByRole('button', { name: 'Done' }).click()
    const row = page.getByRole('row').filter({ hasText: 'made in the page' })
    await row.getByRole('button', { name: 'Revoke' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Revoke the key' }).click()
    await row.waitFor({ state: 'detached' })
    await expect.poll(async () => (await gateway.ask(key)).status).toBe(401)
  })

  test('a chat streams to its watcher', async () => {
    const owner = owners[2]
    if (!owner) throw new Error('there is no such person')
    await open('/chats')
    const chat = await gateway.beginChat(owner, 'Stream this, please')
    await page.getByRole('row').filter({ hasText: 'Stream this, please' }).waitFor()
    await open(`/chats/${chat}`)
    await page.getByText('nothing has left this machine').waitFor()
    await page.getByText('At rest').waitFor()
    expect(await page.locator('.message-assistant').count()).toBe(1)
  })

  test('words of models, tools and clients stay text', async () => {
    const attack = '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>'
    const id = randomUUID()
    const [owner] = owners
    const child = { interceptionId: id, createdAt: new Date() }
    const { results } = await gateway.recorder.recordBatch.mutate({
      records: [
        {
          kind: 'interception',
          id,
          initiatorId: owner?.id ?? '',
          apiKeyId: owner?.keyId ?? '',
          provider: attack,
          providerName: attack,
          model: attack,
          client: attack,
          clientSessionId: attack,
          userAgent: attack,
          startedAt: new Date(),
          metadata: { [attack]: attack },
        },
        { kind: 'promptUsage', id: randomUUID(), msgId: 'm', prompt: attack, ...child },
        { kind: 'modelThought', id: randomUUID(), content: attack, ...child },
        {
          kind: 'toolUsage',
          id: randomUUID(),
          msgId: 'm',
          tool: attack,
          input: JSON.stringify({ attack }),
          injected: true,
          serverUrl: 'javascript:document.title="owned"',
          invocationError: attack,
          ...child,
        },
        { kind: 'interceptionEnded', id, endedAt: new Date(), errorType: 'unknown', errorMessage: attack },
      ],
    })
    expect(results.every(({ ok }) => ok)).toBe(true)
    for (const path of ['/interceptions', `/interceptions/${id}`, '/usage?by=model', '/usage?by=provider']) {
      await open(path)
      await page.getByText(attack).first().waitFor()
      expect(await page.locator('main img, main script, main a[href^="javascript"]').count()).toBe(0)
      expect(await page.title()).not.toBe('owned')
    }
  })

  test('a report of usage is plotted, sorted and saved', async () => {
    await open('/usage?by=user')
    await page.getByRole('img', { name: /for each day, by user/ }).waitFor()
    await page.getByRole('button', { name: 'Requests' }).click()
    expect(await page.getByRole('columnheader', { name: 'Requests' }).getAttribute('aria-sort')).toBe('descending')
    const download = page.waitForEvent('download')
    await page.getByRole('button', { name: 'CSV' }).click()
    const text = await readFile(await (await download).path(), 'utf8')
    expect(text.split('\r\n')[0]).toContain('username')
    expect(text).toContain('grace')
  })

  test('a provider is tested, disabled, and its keys are put in another order', async () => {
    await open('/providers/demo')
    await page.getByRole('button', { name: 'Test' }).click()
    await page.getByText(/The provider answered in .* and has 1 model/).waitFor()
    await page.getByRole('switch', { name: 'Enabled' }).click({ force: true })
    await page.getByText('Disabled', { exact: true }).waitFor()
    await page.getByRole('switch', { name: 'Enabled' }).click({ force: true })
    await open('/providers/anthropic')
    await page.getByRole('button', { name: /^Prefer sk-a…efgh/ }).click()
    await expect.poll(() => page.locator('.provider-keys li').first().textContent()).toContain('efgh')
    const [provider] = (await gateway.operator.providers.list.query()).filter(({ name }) => name === 'anthropic')
    expect(provider?.keys[0]).toContain('efgh')
  })

  test('a user is created and suspended', async () => {
    await open('/users')
    await page.getByRole('button', { name: 'New user' }).click()
    await page.getByRole('dialog').getByLabel('Name').fill('new-person')
    await page.getByRole('dialog').getByRole('button', { name: 'Create the user' }).click()
    await page.getByRole('heading', { name: 'new-person' }).waitFor()
    await page.getByRole('button', { name: 'Suspend' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Suspend the user' }).click()
    await page.getByText('Suspended', { exact: true }).waitFor()
    await open('/audit?action=users.setStatus')
    await page.getByRole('row').filter({ hasText: 'new-person' }).waitFor()
  })

  test('the first steps make a key and show the first request', async () => {
    await open('/start')
    await page.getByLabel('Name of the user').fill('first-person')
    await page.getByRole('button', { name: 'Make the key' }).click()
    const key = (await page.getByLabel('The new key').textContent()) ?? ''
    await page.getByLabel('Command for curl').filter({ hasText: '/bridge/demo/v1/messages' }).waitFor()
    await page.getByText('Waiting for the first request').waitFor()
    await gateway.ask(key)
    await page.getByRole('link', { name: 'demo at demo' }).waitFor({ timeout: 2_000 })
  })

  test('an output of an agent is shown, and its process is ended', async () => {
    await open('/agents/builder')
    await page.getByRole('row').filter({ hasText: 'printf' }).getByText('Exit 3', { exact: true }).waitFor()
    await page.getByRole('row').filter({ hasText: 'printf' }).click()
    await page.getByRole('dialog').getByLabel('Output').filter({ hasText: 'one' }).waitFor()
    await page.keyboard.press('Escape')
    await page.getByRole('row').filter({ hasText: 'sleep 600' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Terminate' }).click()
    await page.getByRole('dialog').getByText('SIGTERM').waitFor()
    await page.keyboard.press('Escape')
  })

  test('the keyboard goes to a row, opens it, and comes back', async () => {
    await open('/users')
    await page.locator('.tbl').focus()
    await page.keyboard.press('ArrowDown')
    await page.keyboard.press('ArrowDown')
    const name = (await page.locator(':focus').textContent()) ?? ''
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name, exact: true }).waitFor()
    expect(await page.locator(':focus').textContent()).toBe(name)
    await page.goBack()
    await page.getByRole('heading', { name: 'Users' }).waitFor()
  })

  test.each(Object.keys(viewsOf({ interception: '', chat: '' })))(
    'the view %s is accessible, in light and in dark, and fits a narrow page',
    async name => {
      await page.emulateMedia({ colorScheme: 'light' })
      await open(views[name] ?? '')
      const light = await violationsOf(page)
      await page.emulateMedia({ colorScheme: 'dark' })
      const dark = await violationsOf(page, ['color-contrast'])
      await page.setViewportSize({ width: 390, height: 844 })
      const width = await page.evaluate<number>('document.documentElement.scrollWidth')
      await page.setViewportSize({ width: 1280, height: 800 })
      expect({ light, dark, width }).toEqual({ light: [], dark: [], width: 390 })
    },
  )

  test('a lost connection is shown, and the list goes on without a gap when it is mended', async () => {
    const tab = await openTab(browser)
    onTestFinished(() => tab.context.close())
    let isDown = false
    const sockets = new Set<{ close(): Promise<void> }>()
    await tab.page.routeWebSocket(/\/rpc/, async socket => {
      if (isDown) return socket.close()
      sockets.add(socket)
      socket.connectToServer()
    })
    await signIn(tab.page, gateway.origin, adminToken, '/interceptions')
    await tab.page.getByText('Live', { exact: true }).waitFor()
    isDown = true
    for (const socket of sockets) await socket.close()
    await tab.page.getByText('Connection lost').waitFor()
    await gateway.ask(keyOf(1), 'meanwhile', 'demo-meanwhile')
    isDown = false
    await tab.page.getByText('Connection lost').waitFor({ state: 'detached' })
    await tab.page.getByRole('row').filter({ hasText: 'demo-meanwhile' }).waitFor()
  })

  test('the end of the session leads to the sign-in, and nothing of the rows stays', async () => {
    const tab = await openTab(browser)
    onTestFinished(() => tab.context.close())
    await signIn(tab.page, gateway.origin, adminToken, '/users')
    await tab.page.getByRole('row').filter({ hasText: 'grace' }).waitFor()
    const cookies = await tab.context.cookies()
    expect(cookies).toMatchObject([{ httpOnly: true, sameSite: 'Strict' }])
    await tab.page.getByRole('button', { name: 'Sign out' }).click()
    await tab.page.getByLabel('Admin token or key').waitFor()
    expect(await tab.page.getByText('grace').count()).toBe(0)
    await tab.context.addCookies(cookies)
    await tab.page.reload()
    await tab.page.getByLabel('Admin token or key').waitFor()
  })

  test('the page loads nothing from another origin', async () => {
    const tab = await openTab(browser)
    onTestFinished(() => tab.context.close())
    const origins = new Set<string>()
    tab.page.on('request', request => origins.add(new URL(request.url()).origin))
    await signIn(tab.page, gateway.origin, adminToken, '/usage')
    await tab.page.getByRole('heading', { name: 'Usage and cost' }).waitFor()
    expect([...origins].filter(origin => origin !== 'null')).toEqual([gateway.origin])
    await context.pages()[0]?.bringToFront()
  })
})
