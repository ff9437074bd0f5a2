/** A server with a bridge, chats and the operator's page, and a Chromium that opens the page. */
import { resolve } from 'node:path'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { connectAgent } from '../../client/agent-connection.js'
import { createBridgeDaemon } from '../../client/bridge/daemon.js'
import { createBridgeClient } from '../../client/bridge-client.js'
import { createChatModels } from '../../client/chats/chat-models.js'
import { createBridgeServer } from '../../server/control-plane/server.js'
import { openTemporaryStore } from '../fixtures/stores.js'
import { admin, adminToken, daemon as daemonIdentity, recordingLogger } from '../server/services/running-server.js'
import { openDoor } from './door.js'

/** The folder of the built page. */
export const pageFolder = resolve('dist/web')

/** Everything behind the page, on an empty database. */
export async function openGateway() {
  const store = await openTemporaryStore()
  const logger = recordingLogger()
  const server = await createBridgeServer({
    store,
    logger,
    connectAgent,
    config: { adminToken, encryptionKeys: [new Uint8Array(32).fill(7)], buildVersion: '1.2.3' },
  })
  const client = createBridgeClient({ dial: () => server.connectInMemory({ identity: daemonIdentity }) })
  const daemon = createBridgeDaemon({ client, logger, limits: { authCacheTtlMs: 50, outboxFlushMs: 100 } })
  const chats = server.runChats({ models: createChatModels({ daemon }) })
  const { url } = await server.listen({
    host: '127.0.0.1',
    port: 0,
    bridge: { handler: daemon.handler, ready: daemon.ready },
  })
  const operator = createBridgeClient({ dial: () => server.connectInMemory({ identity: admin }) })
  const door = await openDoor({ target: url, adminToken, folder: pageFolder, port: Number(process.env.PAGE_PORT ?? 0) })
  return {
    origin: door.origin,
    cut: () => door.cut(),
    server,
    operator: operator.admin,
    recorder: client.recorder,
    logger,
    /** Sends a message to the provider `demo`, as a client with a key does. */
    async ask(key: string, text = 'Hello', model = 'demo'): Promise<Response> {
      return fetch(`${url}/bridge/demo/v1/messages`, {
        method: 'POST',
        headers: { 'x-api-key': key, 'content-type': 'application/json', 'anthropic-version': '2023-06-01' },
        body: JSON.stringify({ model, max_tokens: 100, messages: [{ role: 'user', content: text }] }),
      })
    },
    async close(): Promise<void> {
      await door.close()
      await chats.close({ graceMs: 500 })
      await daemon.close({ graceMs: 500 })
      await client.close()
      await operator.close()
      await server.close({ graceMs: 0 })
      await store.close()
    },
  }
}

/** What {@link openGateway} opens. */
export type Gateway = Awaited<ReturnType<typeof openGateway>>

/** A page of a context of its own, and everything that went wrong in it. */
export async function openTab(browser: Browser, options: Parameters<Browser['newContext']>[0] = {}) {
  const context: BrowserContext = await browser.newContext({ locale: 'en-US', ...options })
  const page: Page = await context.newPage()
  const problems: string[] = []
  page.on('pageerror', error => problems.push(String(error)))
  page.on('console', message => {
    // Chromium reports each 4xx as an error; the tests of sign-in expect some.
    if (message.type() === 'error' && !/status of 4\d\d/.test(message.text())) problems.push(message.text())
  })
  await page.addInitScript(
    `addEventListener('securitypolicyviolation', event => console.error('policy: ' + event.violatedDirective), true)`,
  )
  return { context, page, problems }
}

/** Signs in with a key, at a path. */
export async function signIn(page: Page, origin: string, key: string, path = '/'): Promise<void> {
  await page.goto(`${origin}${path}`)
  await page.getByLabel('Admin token or key').fill(key)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.locator('main#main').waitFor()
}
