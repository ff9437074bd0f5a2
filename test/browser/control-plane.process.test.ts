/** A page of a control plane's own origin, as the operator's page is one. */
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type * as client from '../../client/browser/index.js'
import type * as shared from '../../shared/index.js'
import { adminToken, oneStore, startServer } from '../server/services/running-server.js'
import { bundle } from './bundle.js'
import { startChromium } from './chromium.js'
import { findChromium } from './find-chromium.js'

const executable = findChromium()
const store = oneStore()

/** What the program puts into the global scope of the page. */
interface Scope {
  client: typeof client
  shared: typeof shared
  location: { origin: string }
}

const program = `
  import * as client from 'aibridge/client'
  import * as shared from 'aibridge/shared'
  Object.assign(globalThis, { client, shared })
`

describe.skipIf(!executable)('an operator in Chromium', () => {
  let browser: Browser
  let code: string

  beforeAll(async () => {
    ;[browser, code] = await Promise.all([startChromium(executable ?? ''), bundle(program)])
  })
  afterAll(() => browser?.close())

  /** The control plane's own page, with the program in it: that page's policy allows no scripts. */
  async function openPage() {
    const { server } = await startServer(store())
    const { url } = await server.listen({ host: '127.0.0.1', port: 0 })
    const context = await browser.newContext({ bypassCSP: true })
    onTestFinished(() => context.close())
    const page = await context.newPage()
    await page.goto(url)
    await page.addScriptTag({ type: 'module', content: code })
    return page
  }

  test('a page with the admin token calls admin procedures and watches records', async () => {
    const page = await openPage()
    const result = await page.evaluate(async key => {
      const { client, shared, location } = globalThis as unknown as Scope // the program's
      const operator = client.createBridgeClient({ url: location.origin, key })
      const created = await operator.admin.users.create.mutate({ username: 'ada' })
      const [user] = await operator.admin.users.list.query()
      const error = await operator.admin.users.create.mutate({ username: 'ada' }).catch(thrown => thrown)
      const watches = await new Promise<boolean>((resolve, reject) => {
        operator.admin.watch.subscribe({}, { onStarted: () => resolve(true), onError: reject })
      })
      const { code } = await operator.close()
      return {
        isSame: created.id === user?.id,
        isDate: user?.createdAt instanceof Date,
        error: [shared.errorCodeOf(error), shared.errorReasonOf(error)],
        watches,
        code,
      }
    }, adminToken)
    expect(result).toEqual({ isSame: true, isDate: true, error: ['CONFLICT', 'name_taken'], watches: true, code: 1000 })
  })

  test('a wrong token stops a page with 4401', async () => {
    const page = await openPage()
    const [close, error] = await page.evaluate(async () => {
      const { client, location } = globalThis as unknown as Scope // the program's
      const operator = client.createBridgeClient({ url: location.origin, key: 'wrong' })
      const { code } = await operator.closed
      return [code, await operator.admin.users.list.query().catch(({ data }) => data)]
    })
    expect(close).toBe(4401)
    expect(error).toMatchObject({ code: 'UNAUTHORIZED', reason: 'key_invalid', mayHaveRun: false })
  })
})
