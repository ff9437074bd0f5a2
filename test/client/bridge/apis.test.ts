/** The table of APIs is complete. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { BridgedRoute } from '../../../client/bridge/providers/provider-api.js'
import { providerTypes } from '../../../shared/contract/provider-configurator.js'
import { apiRows, conversationsBesideProject } from './apis.js'
import { clientsBesideProject } from './real-clients.js'

const responsesFolder = join(import.meta.dirname, '../../../client/bridge/providers/responses')

/** Returns the routes whose requests are recorded: exported values that read requests. */
async function bridgedRoutes(): Promise<BridgedRoute[]> {
  const files = readdirSync(responsesFolder).filter(name => name.endsWith('.ts'))
  const modules: object[] = await Promise.all(files.map(name => import(/* @vite-ignore */ join(responsesFolder, name))))
  const routes = modules.flatMap(module => Object.values(module)).filter(value => Object(value).readRequest)
  return [...new Set<BridgedRoute>(routes)]
}

test('every type of provider has a row', () => {
  expect([...new Set(apiRows.map(({ provider }) => provider))].sort()).toEqual([...providerTypes].sort())
})

/** Routes without a conversation: name → the test file that sends their requests. */
const elsewhere: Readonly<Record<string, string>> = {
  'openai/embeddings': 'usage-of-responses.test.ts',
  'openai/responses/compact': 'usage-of-responses.test.ts',
}

test('every bridged route has a row, or a test file of its own', async () => {
  const withoutRow = (await bridgedRoutes()).filter(route => !apiRows.some(row => row.route === route))
  expect(withoutRow.map(({ name }) => name).sort()).toEqual(Object.keys(elsewhere).sort())
  for (const [name, file] of Object.entries(elsewhere)) {
    expect(readFileSync(join(import.meta.dirname, file), 'utf8')).toContain(`/${name.replace('openai/', 'v1/')}`)
  }
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
  const without = apiRows.filter(
    ({ conversations }) => !conversations.some(({ fixture }) => files.some(name => name.endsWith(`/${fixture}.txtar`))),
  )
  expect(without.map(({ name }) => name)).toEqual([])
  expect(clientsBesideProject().length).toBeGreaterThan(0)
})
