import { randomUUID } from 'node:crypto'
import { cp, mkdir, readdir, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as immediate } from 'node:timers/promises'
import { expect, onTestFinished, test, vi } from 'vitest'
import { DeadLetters } from '../../../../client/bridge/outbox/dead-letters.js'
import { openJournal } from '../../../../client/bridge/outbox/journal/journal.js'
import { readJournal } from '../../../../client/bridge/outbox/journal/read-journal.js'
import { type JournalOutboxOptions, openJournalOutbox } from '../../../../client/bridge/outbox/journal-outbox.js'
import type { SendRecords } from '../../../../client/bridge/outbox/outbox.js'
import type { BatchRecord } from '../../../../shared/contract/recorder.js'
import { RpcError } from '../../../../shared/rpc/errors.js'
import { silentLogger } from '../../../../shared/values/log.js'
import { eventually } from '../../../fixtures/eventually.js'
import { memoryLogger } from '../running-bridge.js'
import { testOwner } from '../scripted-control-plane.js'
import { outboxFolder } from './outbox-kinds.js'

const uuid = (n: number) => `0198c5d4-0000-7000-8000-${String(n).padStart(12, '0')}`
const at = new Date('2026-01-02T03:04:05.678Z')

function interception(n: number): BatchRecord<'interception'> {
  const { ownerId, apiKeyId } = testOwner
  return {
    kind: 'interception',
    id: uuid(n),
    initiatorId: ownerId,
    apiKeyId,
    provider: 'openai',
    model: 'm',
    startedAt: at,
    metadata: { startedAt: '2026-01-01T00:00:00.000Z', words: ['\u0000', '\ud800', 'ü'] },
  }
}

const prompt = (n: number, of: number): BatchRecord => ({
  kind: 'promptUsage',
  id: uuid(n),
  interceptionId: uuid(of),
  msgId: 'm',
  prompt: 'hello',
  createdAt: at,
})

const tokens = (n: number, of: number, outputTokens: number): BatchRecord => ({
  kind: 'tokenUsage',
  id: uuid(n),
  interceptionId: uuid(of),
  msgId: 'm',
  inputTokens: 1,
  outputTokens,
  cacheReadInputTokens: 0,
  cacheWriteInputTokens: 0,
  createdAt: at,
})

const end = (of: number, errorType?: 'unknown'): BatchRecord => ({
  kind: 'interceptionEnded',
  id: uuid(of),
  endedAt: at,
  ...(errorType && { errorType }),
})

/** Opens an outbox that a test may leave as a killed process leaves it. */
async function open(options: Partial<JournalOutboxOptions> = {}) {
  const { logger, lines } = memoryLogger()
  const folder = options.folder ?? (await outboxFolder())
  const sent: BatchRecord[] = []
  const send: SendRecords = async records => {
    sent.push(...records)
    return records.map(() => ({ ok: true }))
  }
  const outbox = await openJournalOutbox({ send, logger, daemonInstance: randomUUID(), ...options, folder })
  onTestFinished(async () => void (await outbox.close({ timeoutMs: 0 })))
  return { outbox, folder, sent, lines }
}

/** A control plane that never responds. */
const silent: SendRecords = (_, signal) =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))

/** Opens the files of an outbox as they are now: what the next process finds if this one is killed. */
async function afterKill(folder: string, options: Partial<JournalOutboxOptions> = {}) {
  const copy = await outboxFolder()
  for (const name of await readdir(folder)) {
    if (!(await stat(join(folder, name))).isSocket())
      await cp(join(folder, name), join(copy, name), { recursive: true })
  }
  const opened = await open({ ...options, folder: copy })
  await opened.outbox.flush()
  return opened
}

test('records that were put are handed over by the next process, the same ones by any number of processes', async () => {
  const { outbox, folder } = await open({ send: silent })
  await outbox.begin(interception(1), [prompt(2, 1), end(1, 'unknown')])
  outbox.note(uuid(1), [tokens(3, 1, 5), end(1, 'unknown')])
  await outbox.put([prompt(2, 1), tokens(3, 1, 9), end(1)])
  const expected = [interception(1), prompt(2, 1), tokens(3, 1, 9), end(1)]
  for (let attempt = 0; attempt < 3; attempt++) expect((await afterKill(folder)).sent).toStrictEqual(expected)
})

test('an interception that has begun is ended by the next process, with its prompt', async () => {
  const { outbox, folder } = await open({ send: silent })
  await outbox.begin(interception(1), [prompt(2, 1), end(1, 'unknown')])
  expect((await afterKill(folder)).sent).toStrictEqual([interception(1), prompt(2, 1), end(1, 'unknown')])
})

test('the newest tokens of a response under way are handed over by the next process', async () => {
  const { outbox, folder } = await open({ send: silent })
  await outbox.begin(interception(1), [prompt(2, 1), end(1, 'unknown')])
  outbox.note(uuid(1), [tokens(3, 1, 5), end(1, 'unknown')])
  outbox.note(uuid(1), [tokens(3, 1, 7), end(1, 'unknown')])
  // Notes are not awaited; a later put is written behind them.
  await outbox.put([prompt(4, 9)])
  const { sent } = await afterKill(folder)
  expect(sent.slice(0, -1)).toStrictEqual([interception(1), prompt(2, 1), tokens(3, 1, 7), end(1, 'unknown')])
})

test('records for a process that died are no dead letters where the control plane has the final ones', async () => {
  const { outbox, folder } = await open({ send: silent })
  await outbox.begin(interception(1), [prompt(2, 1), end(1, 'unknown')])
  await outbox.begin(interception(5), [end(5, 'unknown')])
  await outbox.put([prompt(6, 5), end(5)])
  const send: SendRecords = async records =>
    records.map(({ kind }) =>
      kind === 'promptUsage' ? { ok: false, code: 'CONFLICT', message: 'recorded before' } : { ok: true },
    )
  const next = await afterKill(folder, { send })
  // Final records that differ are a fault.
  expect((await new DeadLetters(next.folder).list()).map(({ record }) => record.id)).toEqual([uuid(6)])
})

test('an interception that was not recorded leaves nothing', async () => {
  const { outbox, folder } = await open({ send: silent })
  await outbox.begin(interception(1), [end(1, 'unknown')])
  outbox.forget(uuid(1))
  outbox.note(uuid(1), [tokens(3, 1, 5), end(1, 'unknown')])
  await outbox.put([prompt(4, 9)])
  expect((await afterKill(folder)).sent).toStrictEqual([prompt(4, 9)])
})

test('records that the control plane has are not handed over again', async () => {
  const first = await open()
  await first.outbox.begin(interception(1), [end(1, 'unknown')])
  await first.outbox.put([end(1)])
  await first.outbox.flush()
  expect(await first.outbox.close({ timeoutMs: 1_000 })).toEqual({ left: 0, kept: 0 })
  const { sent, outbox } = await open({ folder: first.folder })
  await outbox.flush()
  expect(sent).toEqual([])
})

test('an outbox that closes while the control plane is away keeps its records and says so', async () => {
  const { outbox, folder, lines } = await open({ send: silent })
  await outbox.begin(interception(1), [end(1, 'unknown')])
  await outbox.put([tokens(3, 1, 9), end(1)])
  expect(await outbox.close({ timeoutMs: 10 })).toEqual({ left: 2, kept: 2 })
  expect(lines.at(-1)).toMatchObject({ level: 'error', fields: { left: 2, folder } })
  expect(lines.at(-1)?.message).toMatch(/^records wait in the outbox for the next start: /)
  const { sent, outbox: next, lines: words } = await open({ folder })
  await next.flush()
  expect(sent).toStrictEqual([interception(1), tokens(3, 1, 9), end(1)])
  expect(words[0]).toMatchObject({ level: 'warn', fields: { interceptions: 1, records: 3 } })
})

test('a daemon whose key is revoked keeps its records for the operator, who hands them over with another key', async () => {
  const revoked = new RpcError<string>('FORBIDDEN', 'the key was revoked', { reason: 'key_revoked', mayHaveRun: false })
  const { outbox, folder, lines } = await open({ send: () => Promise.reject(revoked) })
  await outbox.begin(interception(1), [end(1, 'unknown')])
  await outbox.put([tokens(3, 1, 9), end(1)])
  await outbox.flush()
  // What ends later is kept too.
  await outbox.begin(interception(4), [end(4, 'unknown')])
  await outbox.put([end(4)])
  expect(await outbox.close({ timeoutMs: 60_000 })).toEqual({ left: 3, kept: 3 })
  expect(lines.at(-1)).toMatchObject({
    message: 'records wait in the outbox for the next start: the link to the control plane is closed for good',
    fields: { left: 3, folder, reason: 'the key was revoked' },
  })
  const { sent, outbox: next } = await open({ folder })
  await next.flush()
  expect(sent).toStrictEqual([interception(1), tokens(3, 1, 9), end(1), interception(4), end(4)])
})

test('no record is sent before all records of its interception are written', async () => {
  const folder = await outboxFolder()
  let seen: BatchRecord[] | undefined
  const send: SendRecords = async records => {
    seen ??= (await afterKill(folder)).sent
    return records.map(() => ({ ok: true }))
  }
  const { outbox } = await open({ folder, send })
  await outbox.put([prompt(2, 1), tokens(3, 1, 9), end(1)])
  await outbox.flush()
  expect(seen).toStrictEqual([prompt(2, 1), tokens(3, 1, 9), end(1)])
})

test('an interception that the control plane has forgotten is sent again before its records', async () => {
  const known = new Set<string>()
  const sent: string[] = []
  const send: SendRecords = async records =>
    records.map(record => {
      sent.push(record.kind)
      const { id, interceptionId = id } = record as { id: string; interceptionId?: string }
      if (record.kind === 'interception') known.add(id)
      return known.has(interceptionId) ? { ok: true } : { ok: false, code: 'NOT_FOUND', message: 'no interception' }
    })
  const { outbox } = await open({ send })
  await outbox.begin(interception(1), [end(1, 'unknown')])
  await outbox.put([tokens(3, 1, 9), end(1)])
  await outbox.flush()
  expect(sent).toEqual(['tokenUsage', 'interceptionEnded', 'interception', 'tokenUsage', 'interceptionEnded'])
  expect(outbox.deadLetters).toBe(0)
})

test('a dead letter outlives the process, for its owner only, and is sent again at the wish of an operator', async () => {
  let isRejecting = true
  const sent: string[] = []
  const send: SendRecords = async records =>
    records.map(record => {
      sent.push(record.kind)
      if (isRejecting && record.kind === 'tokenUsage') return { ok: false, code: 'BAD_REQUEST', message: 'too many' }
      return { ok: true }
    })
  const { outbox, folder } = await open({ send })
  await outbox.begin(interception(1), [end(1, 'unknown')])
  await outbox.put([tokens(3, 1, 9), end(1)])
  await outbox.close({ timeoutMs: 1_000 })
  const letters = new DeadLetters(folder)
  const [letter] = await letters.list()
  expect(letter).toMatchObject({
    record: tokens(3, 1, 9),
    interception: interception(1),
    code: 'BAD_REQUEST',
    message: 'too many',
  })
  const file = join(folder, 'dead-letters', `${letter?.name}.json`)
  expect([(await stat(file)).mode & 0o777, (await stat(join(folder, 'dead-letters'))).mode & 0o777]).toEqual([
    0o600, 0o700,
  ])

  isRejecting = false
  sent.splice(0)
  expect(await letters.retry()).toEqual([letter?.name])
  await open({ folder, send })
  await eventually(() => expect(sent).toEqual(['interception', 'tokenUsage']))
  await eventually(async () => expect([await letters.list(), await letters.retries()]).toEqual([[], []]))
})

test('a rejected record whose dead letter cannot be kept is left, and kept for the next process, unless it is erased', async () => {
  const rejecting: SendRecords = async records =>
    records.map(({ kind }) =>
      kind === 'tokenUsage' ? { ok: false, code: 'BAD_REQUEST', message: 'too many' } : { ok: true },
    )
  for (const isErased of [false, true]) {
    const { outbox, folder, lines } = await open({ send: rejecting })
    await rm(join(folder, 'dead-letters'), { recursive: true })
    await outbox.begin(interception(1), [end(1, 'unknown')])
    await outbox.put([tokens(3, 1, 9), end(1)])
    await outbox.flush()
    await eventually(() => expect(lines.map(({ message }) => message)).toContain('a dead letter could not be kept'))
    await mkdir(join(folder, 'dead-letters'))
    const counts = isErased ? await outbox.erase(new Set([testOwner.ownerId])) : new Map()
    expect([...counts.values()]).toEqual(isErased ? [1] : [])
    expect(await outbox.close({ timeoutMs: 1_000 })).toEqual(isErased ? { left: 0, kept: 0 } : { left: 1, kept: 1 })
    expect(outbox.isEmpty).toBe(isErased)
    const { sent, outbox: next } = await open({ folder })
    await next.flush()
    expect(sent.map(({ kind }) => kind)).toEqual(isErased ? [] : ['interception', 'tokenUsage', 'interceptionEnded'])
  }
})

test('a retried letter whose file cannot be removed is sent once, and those behind it too', async () => {
  const folder = await outboxFolder()
  const letters = new DeadLetters(folder)
  await letters.open()
  const rejection = { ok: false, code: 'NOT_FOUND', message: 'no' } as const
  for (const n of [1, 2]) await letters.keep({ record: end(n), interception: undefined, userId: undefined, rejection })
  await letters.retry()
  vi.spyOn(DeadLetters.prototype, 'takenOver').mockRejectedValue(new Error('EPERM'))
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  onTestFinished(() => {
    vi.useRealTimers()
    vi.restoreAllMocks()
  })
  const { sent, lines } = await open({ folder })
  for (const looks of [1, 2]) {
    await vi.waitFor(() => expect(lines).toHaveLength(looks))
    vi.advanceTimersByTime(5_000)
  }
  await vi.waitFor(() => expect(sent).toHaveLength(2))
  vi.advanceTimersByTime(5_000)
  await new Promise(setImmediate)
  expect(sent.map(({ id }) => id).sort()).toEqual([uuid(1), uuid(2)])
})

test('dead letters are removed after 30 days', async () => {
  const folder = await outboxFolder()
  const letters = new DeadLetters(folder)
  await letters.open()
  await letters.keep({
    record: end(1),
    interception: undefined,
    userId: undefined,
    rejection: { ok: false, code: 'NOT_FOUND', message: 'no' },
  })
  const days = (n: number) => new Date(Date.now() + n * 86_400_000)
  await letters.expire(days(29.9))
  expect(await letters.list()).toHaveLength(1)
  await letters.expire(days(30.1))
  expect(await letters.list()).toEqual([])
})

test('dead letters that become too old while the outbox is open are removed within an hour', async () => {
  const folder = await outboxFolder()
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  onTestFinished(() => void vi.useRealTimers())
  const { outbox } = await open({ folder })
  const letters = new DeadLetters(folder)
  const rejection = { ok: false as const, code: 'NOT_FOUND' as const, message: 'no' }
  await letters.keep({ record: end(1), interception: undefined, userId: undefined, rejection })
  const [letter] = await letters.list()
  const old = new Date(Date.now() - 31 * 86_400_000)
  await utimes(join(folder, 'dead-letters', `${letter?.name}.json`), old, old)
  vi.advanceTimersByTime(3_600_000)
  while ((await letters.list()).length > 0) await immediate()
  await outbox.close({ timeoutMs: 0 })
})

test('a process before this one is declared gone when its records are handed over, and no process of a clean end', async () => {
  const declared: string[][] = []
  const declareGone = async (instances: string[]) => void declared.push(instances)
  const order: string[] = []
  const send: SendRecords = async records => {
    order.push(...records.map(({ kind }) => kind))
    return records.map(() => ({ ok: true }))
  }
  const killed = randomUUID()
  const { outbox, folder } = await open({ send: silent, daemonInstance: killed })
  await outbox.begin(interception(1), [end(1, 'unknown')])
  const next = await afterKill(folder, {
    send,
    declareGone: async instances => {
      order.push('gone')
      await declareGone(instances)
    },
  })
  await eventually(() => expect(declared).toEqual([[killed]]))
  expect(order).toEqual(['interception', 'interceptionEnded', 'gone'])
  await next.outbox.close({ timeoutMs: 1_000 })
  await open({ folder: next.folder, declareGone })
  expect(declared).toHaveLength(1)
})

test.each([
  { what: 'without records', slot: 'finished', isKept: false },
  { what: 'of a form that this version does not know', slot: 'unknown', isKept: true },
])('an entry $what does not keep a process before this one from being declared gone', async ({ slot, isKept }) => {
  const folder = await outboxFolder()
  const [killed, key] = [randomUUID(), randomUUID()]
  const journal = await openJournal({ folder, fsync: 'never', logger: silentLogger })
  await journal.put(`instance:${killed}`, 'opened', '')
  await journal.put(key, slot, '[]')
  await journal.close()
  const declared: string[][] = []
  const { outbox } = await open({ folder, declareGone: async instances => void declared.push(instances) })
  await eventually(() => expect(declared).toEqual([[killed]]))
  await outbox.close({ timeoutMs: 1_000 })
  const { keys } = await readJournal(folder)
  expect(keys.some(found => found.key === key)).toBe(isKept)
})

test('a second process cannot use the folder', async () => {
  const { folder } = await open()
  await expect(open({ folder })).rejects.toMatchObject({ reason: 'data_in_use' })
})
