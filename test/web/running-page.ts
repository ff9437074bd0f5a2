/** A server with a bridge, chats and the operator's page, and a Chromium that opens the page. */
import { randomUUID } from 'node:crypto'
import { tmpdir } from 'node:os'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { createProcessHost } from '../../client/agent/process-host.js'
import { connectAgent } from '../../client/agent-connection.js'
import { createBridgeDaemon } from '../../client/bridge/daemon.js'
import { createBridgeClient } from '../../client/bridge-client.js'
import { createChatModels } from '../../client/chats/chat-models.js'
import { createBridgeServer } from '../../server/control-plane/server.js'
import { processRouter } from '../../server/routers/process.js'
import { serveDial } from '../../server/rpc/serve-dial.js'
import type { Store } from '../../server/store/store.js'
import { openTemporaryStore } from '../fixtures/stores.js'
import { admin, adminToken, daemon as daemonIdentity, recordingLogger } from '../server/services/running-server.js'
import { openDoor } from './door.js'
import { pageFolder } from './page-folder.js'

/** Everything behind the page, by default on an empty database. */
export async function openGateway(opened?: Store) {
  const store = opened ?? (await openTemporaryStore())
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
  const agents: (() => Promise<void>)[] = []
  return {
    origin: door.origin,
    cut: () => door.cut(),
    server,
    operator: operator.admin,
    recorder: client.recorder,
    logger,
    /** Connects an agent that runs in this process. Returns a function that stops it. */
    async runAgent(name: string): Promise<() => Promise<void>> {
      const host = createProcessHost({ dir: tmpdir(), buildVersion: '1.2.3' })
      const { instanceId } = await host.info({})
      const dial = () => server.connectAgentInMemory({ agent: name, instanceId })
      const service = serveDial({ dial, router: processRouter(host) })
      const stop = async (): Promise<void> => {
        await service.close()
        await host.close()
      }
      agents.push(stop)
      return stop
    },
    /** Begins a chat of a user by a key of the user, and returns its id. */
    async beginChat(owner: { id: string; username: string; keyId: string }, text: string): Promise<string> {
      const identity = { role: 'user', name: owner.username, userId: owner.id, apiKeyId: owner.keyId } as const
      const own = createBridgeClient({ dial: () => server.connectInMemory({ identity }) })
      const id = randomUUID()
      const message = { id: randomUUID(), parts: [{ type: 'text' as const, text }] }
      await own.chats.create.mutate({ id, provider: 'demo', model: 'demo', title: text.slice(0, 60), message })
      await own.close()
      return id
    },
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
      for (const stop of agents) await stop()
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
