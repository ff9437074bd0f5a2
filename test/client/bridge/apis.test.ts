/** The table of APIs is complete. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { BridgedRoute } from '../../../client/bridge/providers/provider-api.js'
import { providerTypes } from '../../../shared/contract/provider-configurator.js'
import { apiRows, conversationsBesideProject } from './apis.js'
import { clientsBesideProject } from './real-clients.js'

const providersFolder = join(import.meta.dirname, '../../../client/bridge/providers')

/** Returns the routes whose requests are recorded: exported values that read requests. */
async function bridgedRoutes(): Promise<BridgedRoute[]> {
  const files = readdirSync(providersFolder).filter(name => name.endsWith('.ts'))
  const modules: object[] = await Promise.all(files.map(name => import(/* @vite-ignore */ join(providersFolder, name))))
  const routes = modules.flatMap(module => Object.values(module)).filter(value => Object(value).readRequest)
  return [...new Set<BridgedRoute>(routes)]
}

test('every type of provider has a row', () => {
  expect([...new Set(apiRows.map(({ provider }) => provider))].sort()).toEqual([...providerTypes].sort())
})

test('every bridged route has a row', async () => {
  const routes = await bridgedRoutes()
  expect(routes.length).toBeGreaterThan(0)
  const withoutRow = routes.filter(route => !apiRows.some(row => row.route === route))
  expect(withoutRow).toEqual([])
})

describe.each(apiRows)('$name', ({ route, conversations }) => {
  test('the row names a bridged route and has conversations in both modes', async () => {
    expect(await bridgedRoutes()).toContain(route)
    expect(new Set(conversations.map(({ mode }) => mode))).toEqual(new Set(['streaming', 'non-streaming']))
  })
})

const isMissing = !existsSync(conversationsBesideProject)
const reason = isMissing
  ? ' (skipped: no folder shared/fixtures beside the project, only its own conversations run)'
  : ''

test.skipIf(isMissing)(`conversations and clients beside the project are rows too${reason}`, () => {
  const files = readdirSync(conversationsBesideProject, { recursive: true, encoding: 'utf8' })
  const names = new Set(files.map(name => name.replace(/^.*\//, '').replace(/\.txtar$/, '')))
  const without = apiRows.filter(({ conversations }) => !conversations.some(({ fixture }) => names.has(fixture)))
  expect(without.map(({ name }) => name)).toEqual([])
  expect(clientsBesideProject().length).toBeGreaterThan(0)
})
