/** `aibridge interceptions tail` from an event on. */
import { v7 as uuidv7 } from 'uuid'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { addInterceptionsCommands } from '../../../server/commands/interceptions.js'
import { daemon, oneStore } from '../services/running-server.js'
import { commandLine } from './command-line.js'

const store = oneStore()

const interception = () => ({
  id: uuidv7(),
  initiatorId: uuidv7(),
  apiKeyId: 'abcdefghij',
  provider: 'anthropic',
  model: 'claude',
  startedAt: new Date(),
})

describe('tail --since', () => {
  afterEach(() => {
    vi.restoreAllMocks()
    vi.unstubAllEnvs()
  })

  test.each(['x', '999999999', '-1', '1'.repeat(65)])(
    'tail --since rejects %s, which is no event, by the name of the option',
    async since => {
      const { print } = await commandLine(store(), addInterceptionsCommands)
      const listeners = process.listenerCount('SIGINT')
      await expect(print('interceptions', 'tail', `--since=${since}`)).rejects.toMatchObject({
        code: 'BAD_REQUEST',
        message: `--since "${since}": is not an event id of this server, as tail prints them`,
      })
      expect(process.listenerCount('SIGINT')).toBe(listeners)
    },
  )

  test('tail --since says that later records are gone, when they are', async () => {
    const { connect, print } = await commandLine(store(), addInterceptionsCommands)
    await connect(daemon).recorder.recordInterception.mutate(interception())
    await store().trimFeed({ notedBefore: new Date(Date.now() + 1_000), limit: 1_000 })
    await expect(print('interceptions', 'tail', '--since', '0')).rejects.toMatchObject({
      code: 'PRECONDITION_FAILED',
      reason: 'event_expired',
      message: '--since "0": later records are not kept any more; tail without --since, and list the missed requests',
    })
  })
})
