/** `aibridge interceptions tail` against a server that listens, as a process that is stopped. */
import { v7 as uuidv7 } from 'uuid'
import { afterEach, expect, test } from 'vitest'
import { cleanUp, follow } from '../../e2e/process.js'
import { admin, adminToken, daemon, oneStore, startServer } from '../services/running-server.js'

const store = oneStore()
afterEach(cleanUp)

const interception = () => ({
  id: uuidv7(),
  initiatorId: uuidv7(),
  apiKeyId: 'abcdefghij',
  provider: 'anthropic',
  model: 'claude',
  startedAt: new Date(),
})

test('tail shows records as they are stored, goes on when its server comes back, and ends with 0 at Ctrl-C', async () => {
  const first = await startServer(store())
  const { url } = await first.server.listen({ host: '127.0.0.1', port: 0 })
  const { port } = new URL(url)
  const tail = follow(['interceptions', 'tail', '--port', port, '--json'], { BRIDGE_ADMIN_TOKEN: adminToken })
  expect(JSON.parse(await tail.line())).toMatchObject({ kind: 'watching' })
  const [seen, missed] = [interception(), interception()]
  const { recorder } = first.connect(daemon)
  await recorder.recordInterception.mutate(seen)
  expect(JSON.parse(await tail.line())).toMatchObject({ kind: 'interception', record: { id: seen.id } })

  await first.server.close({ graceMs: 100 })
  const second = await startServer(store())
  await second.connect(daemon).recorder.recordInterception.mutate(missed)
  await second.server.listen({ host: '127.0.0.1', port: Number(port) })
  expect(JSON.parse(await tail.line())).toMatchObject({ record: { id: missed.id } })
  tail.kill('SIGINT')
  expect(await tail.exited).toEqual({ code: 0, signal: null })
})

test('a line for people names the user and has content in one line', async () => {
  const { server, connect } = await startServer(store())
  const { port } = new URL((await server.listen({ host: '127.0.0.1', port: 0 })).url)
  const tail = follow(['interceptions', 'tail', '--port', port], { BRIDGE_ADMIN_TOKEN: adminToken })
  expect(await tail.line()).toMatch(/^ *\d+ {2}watching$/)
  const { recorder } = connect(daemon)
  const { id: initiatorId } = await connect(admin).admin.users.create.mutate({ username: 'ada' })
  const record = { ...interception(), initiatorId }
  await recorder.recordInterception.mutate(record)
  const child = { id: uuidv7(), interceptionId: record.id, msgId: 'm', createdAt: new Date(), prompt: 'a\nb\u001b[2J' }
  await recorder.recordPromptUsage.mutate(child)
  await recorder.recordInterceptionEnded.mutate({ id: record.id, endedAt: new Date() })
  expect(await tail.line()).toContain(`Z  ${record.id.slice(-12)}  ada       started  anthropic  claude  -`)
  expect(await tail.line()).toContain(`Z  ${record.id.slice(-12)}  ada       prompt   a\\nb\\u001b[2J`)
  expect(await tail.line()).toContain(`Z  ${record.id.slice(-12)}  ada       ended    -`)
  tail.kill('SIGTERM')
  expect(await tail.exited).toEqual({ code: 0, signal: null })
})
