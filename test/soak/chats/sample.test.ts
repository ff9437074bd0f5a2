/** A seeded sample of the soak of chats, in one process; its servers are cut from a real database. */
import { afterEach, expect, test } from 'vitest'
import { closeOpened } from '../../fixtures/leaves-nothing.js'
import { runSeed } from '../../fixtures/random.js'
import { localLeaseMs, openInProcess } from './in-process.js'
import { runRound } from './round.js'

afterEach(closeOpened)

const load = { chats: 2, messages: 1, watchers: 1, strikes: 2, leaseMs: localLeaseMs }

test('servers that are cut from the database in the middle of turns lose, double and invent nothing', async () => {
  const { offences, accounts } = await runRound({ seed: runSeed, open: openInProcess, ...load })
  expect(offences.map(({ kind, tag, detail }) => `${kind} ${tag}: ${detail}`)).toEqual([])
  expect(accounts.calls.length).toBeGreaterThan(0)
})
