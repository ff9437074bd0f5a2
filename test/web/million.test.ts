/**
 * A million requests in the list, by hand: `MILLION=1 npx vitest run test/web/million.test.ts` prints the times from a
 * click to painted rows, and the longest task of the page. Another number of rows: `MILLION=100000`.
 */
import pg from 'pg'
import { test } from 'vitest'
import { openPostgresStore } from '../../server/store/postgres/postgres.js'
import { startChromium } from '../browser/chromium.js'
import { findChromium } from '../browser/find-chromium.js'
import { makeDatabase, silentLogger } from '../fixtures/stores.js'
import { adminToken } from '../server/services/running-server.js'
import { openGateway, openTab, signIn } from './running-page.js'
import { makePeople } from './traffic.js'

const rows = Number(process.env.MILLION) > 1 ? Number(process.env.MILLION) : 1_000_000

const insert = `insert into interceptions
  (id, initiator_id, api_key_id, provider, provider_name, model, started_at, client, client_session_id,
   credential_kind, ended_at, content_hash)
  select gen_random_uuid(), $1, 'made-up', 'anthropic', 'anthropic', 'claude-sonnet-4-5-' || n % 7,
    now() - n * interval '2 seconds', 'claude-code', 'session-' || n / 40, 'centralized',
    now() - n * interval '2 seconds' + interval '1 second', '\\x00'
  from generate_series(1, ${rows}) n`

test.runIf(process.env.MILLION)(
  'a million requests stay fast',
  async () => {
    const database = await makeDatabase()
    const store = await openPostgresStore({ url: database.url, logger: silentLogger, maxConnections: 10 })
    const gateway = await openGateway(store)
    const browser = await startChromium(findChromium() ?? '')
    try {
      const [owner] = await makePeople(gateway)
      const client = new pg.Client({ connectionString: database.url })
      await client.connect()
      await client.query('set session_replication_role = replica')
      await client.query(insert, [owner?.id])
      await client.query('vacuum analyze interceptions')
      await client.end()
      const { page } = await openTab(browser)
      await page.addInitScript(
        `self.longest = 0; new PerformanceObserver(list => { for (const { duration } of list.getEntries()) longest = Math.max(longest, duration) }).observe({ type: 'longtask', buffered: true })`,
      )
      await signIn(page, gateway.origin, adminToken, '/users')
      await page.getByRole('row').nth(2).waitFor()
      const timed = async (name: string, act: () => Promise<unknown>, shown: () => Promise<unknown>) => {
        await page.evaluate('longest = 0')
        const start = performance.now()
        await act()
        await shown()
        const ms = Math.round(performance.now() - start)
        const longest = Math.round(await page.evaluate<number>('longest'))
        console.log(`${name}: ${ms} ms, longest task ${longest} ms`)
      }
      const row = (text: string) => page.getByRole('row').filter({ hasText: text }).first().waitFor()
      await timed(
        'list',
        () => page.getByRole('link', { name: 'Requests' }).click(),
        () => row('claude-sonnet'),
      )
      await timed(
        'one request',
        () => page.getByRole('row').nth(3).click(),
        () => page.getByText('Credential').or(page.getByText('About')).waitFor(),
      )
      await timed(
        'back',
        () => page.goBack(),
        () => row('claude-sonnet'),
      )
      for (let index = 1; index <= 10; index++) {
        const target = index * 3_000
        await timed(
          `scroll to ${target} px`,
          () => page.evaluate(`document.querySelector('.tbl').scrollTop = ${target}`),
          () => page.waitForFunction(`document.querySelectorAll('.tbl tbody tr').length > 20`),
        )
      }
      await timed(
        'filter',
        () => page.getByLabel('Outcome').selectOption('timeout'),
        () => page.getByText('No request fits').waitFor(),
      )
    } finally {
      await browser.close()
      await gateway.close()
      await database.drop()
    }
  },
  900_000,
)
