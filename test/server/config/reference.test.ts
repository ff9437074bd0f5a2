import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { configurationPage } from '../../../server/config/reference.js'
import { daemonSettings, serveSettings } from '../../../server/config/settings.js'

test('docs/configuration.md is made from the declarations of the settings', () => {
  const page = readFileSync('docs/configuration.md', 'utf8')
  expect(page, 'docs/configuration.md is stale; make it anew with: npm run docs:configuration').toBe(
    configurationPage(),
  )
})

test('the page names every setting of serve and daemon with its variables', () => {
  for (const [name, { variables }] of Object.entries({ ...serveSettings, ...daemonSettings })) {
    expect(configurationPage()).toMatch(
      new RegExp(`^\\| \`${name}\` \\|.*${variables.map(v => `\`${v}\``).join(', ')} \\|`, 'm'),
    )
  }
})
