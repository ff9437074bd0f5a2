/** Pictures of every view, by hand: `SCREENSHOTS=folder npx vitest run test/web/screenshots.test.ts`. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'vitest'
import { startChromium } from '../browser/chromium.js'
import { findChromium } from '../browser/find-chromium.js'
import { adminToken } from '../server/services/running-server.js'
import { openGateway, openTab, signIn } from './running-page.js'
import { makeOthers, makePeople, makeProviders, makeTraffic } from './traffic.js'
import { viewsOf } from './views.js'

const folder = process.env.SCREENSHOTS
/** `docs` is that of the pictures in docs/page. */
const sizes = {
  docs: { width: 1120, height: 640 },
  wide: { width: 1360, height: 850 },
  narrow: { width: 390, height: 844 },
} as const
const schemes = ['light', 'dark'] as const

test.runIf(folder)(
  'every view is taken, light and dark, wide and narrow',
  async () => {
    mkdirSync(folder ?? '', { recursive: true })
    const only = process.env.VIEWS?.split(',')
    const gateway = await openGateway()
    const browser = await startChromium(findChromium() ?? '')
    try {
      await makeProviders(gateway)
      const owners = await makePeople(gateway)
      await makeTraffic(gateway, owners, {
        days: Number(process.env.DAYS ?? 30),
        perDay: Number(process.env.PER_DAY ?? 60),
      })
      const { chat } = await makeOthers(gateway, owners)
      const { interceptions } = await gateway.operator.interceptions.list.query({ limit: 100 })
      const threaded = interceptions.find(row => row.parentId !== null) ?? interceptions[0]
      const views = {
        ...viewsOf({ interception: threaded?.id ?? '', chat }),
        'usage-by-user': '/usage?by=user&measure=requests&period=90d',
      }
      for (const [size, viewport] of Object.entries(sizes)) {
        if (process.env.SIZES && !process.env.SIZES.split(',').includes(size)) continue
        for (const colorScheme of schemes) {
          const { page, context, problems } = await openTab(browser, { viewport, colorScheme })
          await page.goto(`${gateway.origin}/sign-in`)
          await page.getByLabel('Admin token or key').waitFor()
          await page.screenshot({ path: join(folder ?? '', `sign-in-${size}-${colorScheme}.png`) })
          await signIn(page, gateway.origin, adminToken)
          for (const [name, path] of Object.entries(views)) {
            if (only && !only.includes(name)) continue
            await page.goto(gateway.origin + path)
            await page.locator('h1').waitFor()
            await page.locator('.loading').first().waitFor({ state: 'detached' })
            await page.waitForTimeout(400)
            await page.screenshot({ path: join(folder ?? '', `${name}-${size}-${colorScheme}.png`) })
          }
          console.log(size, colorScheme, problems)
          await context.close()
        }
      }
      if (process.env.KEEP_OPEN) await new Promise(() => console.log(gateway.origin))
    } finally {
      await browser.close()
      await gateway.close()
    }
  },
  600_000,
)
