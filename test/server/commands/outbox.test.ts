import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import type { OutboxState } from '../../../client/bridge/outbox/inspect.js'
import { fillOutbox } from '../../client/bridge/outbox/outbox-folder.js'
import { runWords, runWordsJson } from './command-line.js'

let data: string
beforeEach(async () => {
  data = await mkdtemp(join(tmpdir(), 'outboxes-'))
  onTestFinished(() => rm(data, { recursive: true, force: true }))
})

const status = () => runWordsJson<{ outboxes: OutboxState[] }>(['outbox', 'status', '--data', data])
const letters = () =>
  runWordsJson<{ deadLetters: { name: string; message: string }[] }>(['outbox', 'dead-letters', '--data', data])

test('outbox status shows what waits, while a bridge uses the outbox and after', async () => {
  const folder = join(data, 'outbox/local')
  const outbox = await fillOutbox(folder)
  const expected = { folder, underWay: 1, waiting: 1, records: 2, deadLetters: 1, retries: 0, damaged: [] }
  const [used] = (await status()).outboxes
  expect(used).toMatchObject({ ...expected, pid: process.pid })
  expect(used?.bytes).toBeGreaterThan(500)
  await outbox.close({ timeoutMs: 0 })
  await mkdir(join(data, 'outbox/another'))
  expect((await status()).outboxes).toMatchObject([
    { folder: join(data, 'outbox/another'), pid: null, bytes: 0, waiting: 0 },
    { ...expected, pid: null },
  ])
  expect((await runWords(['outbox', 'status', '--outbox', folder])).stdout).toContain(folder)
})

test('outbox status counts the damaged parts of a journal and changes nothing', async () => {
  const folder = join(data, 'outbox/local')
  const outbox = await fillOutbox(folder)
  await outbox.close({ timeoutMs: 0 })
  await writeFile(join(folder, 'damaged-journal-1-20'), 'x')
  expect((await status()).outboxes).toMatchObject([{ damaged: ['damaged-journal-1-20'], waiting: 1 }])
})

test('a data directory without an outbox has nothing that waits', async () => {
  expect(await status()).toEqual({ outboxes: [] })
  expect(await letters()).toEqual({ deadLetters: [] })
  expect((await runWords(['outbox', 'retry', '--data', data])).stdout).toContain('no dead letters')
})

test('dead letters are listed without their words, and are sent again by name or all', async () => {
  const outbox = await fillOutbox(join(data, 'outbox/local'))
  await outbox.close({ timeoutMs: 0 })
  const [letter, ...others] = (await letters()).deadLetters
  expect(others).toEqual([])
  expect(letter).toEqual({
    name: expect.stringMatching(/^tokenUsage-/),
    kind: 'tokenUsage',
    interceptionId: expect.any(String),
    code: 'BAD_REQUEST',
    message: 'too many tokens',
    rejectedAt: expect.any(String),
  })
  const unknown = await runWords(['outbox', 'retry', 'tokenUsage-nobody', '--data', data, '--json'])
  expect([unknown.code, JSON.parse(unknown.stderr)]).toEqual([1, expect.objectContaining({ reason: 'unknown_row' })])
  expect(await runWordsJson(['outbox', 'retry', letter?.name ?? '', '--data', data])).toEqual({
    retried: [letter?.name],
  })
  expect((await status()).outboxes).toMatchObject([{ deadLetters: 0, retries: 1 }])
})
