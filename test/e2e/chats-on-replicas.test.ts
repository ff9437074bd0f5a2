/** A chat of the built program whose server is killed while a command runs, watched to its end at another server. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { afterEach, expect, onTestFinished, test, vi } from 'vitest'
import type { CreatedAgent } from '../../shared/contract/admin/agents.js'
import type { CreatedApiKey } from '../../shared/contract/admin/api-keys.js'
import { eventStream, startProvider } from '../fixtures/provider.js'
import { makeDatabase } from '../fixtures/stores.js'
import { execute, messageStream, say } from '../server/services/chats/anthropic-stream.js'
import { balance } from './balancer.js'
import { cleanUp, follow, run, runJson, startAgent, temporaryDirectory } from './process.js'
import { replicaEnvironment, startReplica } from './replica.js'

// A server's start takes seconds on a busy machine.
vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 })
afterEach(cleanUp)

test('a chat that runs a command on an agent goes on at another server when its own is killed, and the command runs once', async () => {
  const database = await makeDatabase()
  onTestFinished(database.drop)
  const env = replicaEnvironment(database.url)
  const provider = await startProvider(
    eventStream(messageStream(say('I run ', 'the tests.'), execute('toolu_1', './run-tests', { timeout: 60 }))),
    eventStream(messageStream(say('All 12 tests ', 'pass.'))),
  )
  onTestFinished(provider.close)
  const first = await startReplica(env)
  const at = ['--port', first.port]
  await run(['users', 'create', 'ada', ...at], { env })
  await run(['providers', 'add', 'work', '--type', 'anthropic', '--base-url', provider.url, '--key', 'sk-1', ...at], {
    env,
  })
  const { key } = await runJson<CreatedApiKey>(['keys', 'create', '--user', 'ada', ...at], { env })
  const agentWords = ['agents', 'create', '--name', 'builder', '--user', 'ada', ...at]
  const { key: agentKey } = await runJson<CreatedAgent>(agentWords, { env })

  const folder = await temporaryDirectory()
  const script = '#!/bin/sh\necho run >> runs\nuntil [ -e go ]; do sleep 0.02; done\necho 12 passed\n'
  writeFileSync(join(folder, 'run-tests'), script, { mode: 0o755 })
  let targets = [first]
  const balancer = await balance(() => targets)
  onTestFinished(balancer.close)
  await startAgent(balancer.url, ['--dir', folder], { BRIDGE_AGENT_KEY: agentKey })

  const words = ['chats', 'new', '--provider', 'work', '--model', 'm', '--agent', 'builder', 'Run the tests']
  const begun = follow([...words, ...at], { AIBRIDGE_KEY: key })
  const chatId = await begun.line()
  await vi.waitUntil(() => existsSync(join(folder, 'runs')), { timeout: 20_000 })
  const second = await startReplica(env)
  targets = [second]
  first.kill('SIGKILL')
  await first.exited
  begun.kill('SIGKILL')
  await second.logged('an agent is connected')

  const watched = run(['chats', 'watch', chatId, '--port', second.port], { env: { AIBRIDGE_KEY: key } })
  await endLease(database.url)
  writeFileSync(join(folder, 'go'), '')
  const { code, stdout } = await watched
  expect(stdout).toMatch(
    /^> Run the tests\n[\s\S]*I run the tests\.[\s\S]*run-tests[\s\S]*12 passed[\s\S]*All 12 tests pass\.\n$/,
  )
  expect(code).toBe(0)
  if (process.env.SHOW_TRANSCRIPT) console.log(stdout)
  expect(readFileSync(join(folder, 'runs'), 'utf8')).toBe('run\n')
  expect(provider.calls).toHaveLength(2)
  expect(provider.unexpected).toBe(0)
})

/** Half a minute passes for the lease of a server that was killed. */
async function endLease(url: string): Promise<void> {
  const database = new pg.Client({ connectionString: url })
  await database.connect()
  await database.query('update chats set lease_until = now()')
  await database.end()
}
