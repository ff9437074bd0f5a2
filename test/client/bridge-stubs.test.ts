import { expect, test } from 'vitest'
import { mayResend } from '../../client/bridge-stubs.js'
import { appRouter } from '../../server/routers/app.js'

/** Writes of whole routers that may run twice, and those of others. */
const repeatable = [
  'admin.agents.start',
  'chats.archive',
  'chats.create',
  'chats.dequeue',
  'chats.edit',
  'chats.send',
  'conversations.keep',
  'conversations.pin',
  'providerConfigurator.reportKey',
  'recorder.',
]

test('a write without a response is sent again only if its caller has made the id of what it writes', () => {
  const mutations = Object.entries(appRouter._def.procedures as unknown as Record<string, { _def: { type: string } }>)
    // The type of tRPC is the tree; the value is flat.
    .filter(([, { _def }]) => _def.type === 'mutation')
    .map(([path]) => path)
  const resent = mutations.filter(path => mayResend({ type: 'mutation', path }))
  const shown = [...new Set(resent.map(path => (path.startsWith('recorder.') ? 'recorder.' : path)))]
  expect(shown.toSorted()).toEqual(repeatable)
})

test('every query is sent again', () => {
  expect(mayResend({ type: 'query', path: 'admin.users.list' })).toBe(true)
})
