import { randomUUID } from 'node:crypto'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { SendRecords } from '../../../../client/bridge/outbox/outbox.js'
import { createRecordSender } from '../../../../client/bridge/outbox/record-sender.js'
import { rpcError } from '../../../../shared/contract/error-reasons.js'
import type { BridgeLimits } from '../../../../shared/contract/limits.js'
import type { BatchRecord, RecordOutcome } from '../../../../shared/contract/recorder.js'
import { RpcError } from '../../../../shared/rpc/errors.js'
import { eventually } from '../../../fixtures/eventually.js'
import { createGate } from '../../../fixtures/provider.js'
import { controlPlanes } from '../control-planes.js'
import { memoryLogger } from '../running-bridge.js'
import { scriptedControlPlane, testOwner } from '../scripted-control-plane.js'
import { inMemory, type OutboxKind, outboxKinds } from './outbox-kinds.js'

const uuid = (n: number) => `0198c5d4-0000-7000-8000-${String(n).padStart(12, '0')}`

function interception(n: number): BatchRecord {
  const { ownerId, apiKeyId } = testOwner
  return {
    kind: 'interception',
    id: uuid(n),
    initiatorId: ownerId,
    apiKeyId,
    provider: 'anthropic',
    model: 'm',
    startedAt: new Date(),
  }
}

function prompt(n: number, of: number, text = 'x'): BatchRecord {
  return { kind: 'promptUsage', id: uuid(n), interceptionId: uuid(of), msgId: 'm', prompt: text, createdAt: new Date() }
}

const allOk = (records: readonly BatchRecord[]): RecordOutcome[] => records.map(() => ({ ok: true }))

/** Opens an outbox whose sends the test sees and settles. */
async function outboxWith(kind: OutboxKind, respond: SendRecords, limits: Partial<BridgeLimits> = {}) {
  const { logger, lines } = memoryLogger()
  const sent: string[][] = []
  const send: SendRecords = (records, signal) => {
    sent.push(records.map(record => record.id))
    return respond(records, signal)
  }
  const { outbox, rejected } = await kind.open({
    send,
    logger,
    limits: { outboxRetryMinMs: 1, outboxRetryMaxMs: 2, ...limits },
  })
  return { outbox, sent, rejected, lines }
}

afterEach(() => {
  vi.useRealTimers()
})

describe.each(outboxKinds)('an outbox $name', kind => {
  test('records are sent in order, and new ones form the next batch', async () => {
    const gate = createGate()
    const { outbox, sent } = await outboxWith(kind, async records => {
      await gate.opened
      return allOk(records)
    })
    await outbox.put([interception(1), prompt(2, 1)])
    await outbox.put([prompt(3, 1)])
    await outbox.put([prompt(4, 1)])
    expect(outbox.size).toBe(4)
    gate.open()
    await outbox.flush()
    expect(sent).toEqual([
      [uuid(1), uuid(2)],
      [uuid(3), uuid(4)],
    ])
    expect(outbox.size).toBe(0)
  })

  test('a batch has at most 500 records and 1 MiB, and a larger record is sent alone', async () => {
    const { outbox, sent } = await outboxWith(kind, async records => allOk(records))
    await outbox.put(Array.from({ length: 501 }, (_, index) => prompt(index, 1)))
    await outbox.flush()
    expect(sent.map(batch => batch.length)).toEqual([500, 1])
    const half = 'x'.repeat(600_000)
    await outbox.put([prompt(1, 1, half), prompt(2, 1, half), prompt(3, 1, half.repeat(3)), prompt(4, 1), prompt(5, 1)])
    await outbox.flush()
    expect(sent.slice(2)).toEqual([[uuid(1)], [uuid(2)], [uuid(3)], [uuid(4), uuid(5)]])
  })

  test('records are sent again until the control plane has them', async () => {
    let attempts = 0
    const { outbox, sent, lines } = await outboxWith(kind, async records => {
      if (++attempts < 4) throw new RpcError('INTERNAL_SERVER_ERROR', 'internal server error')
      return allOk(records)
    })
    await outbox.put([interception(1), prompt(2, 1), prompt(3, 1)])
    await outbox.flush()
    expect(attempts).toBeGreaterThanOrEqual(4)
    expect(sent.at(-1)).toContain(uuid(3))
    expect(lines.filter(line => line.level === 'warn')).toHaveLength(3)
  })

  test('a record that is rejected for good goes to the dead letters and does not stop the others', async () => {
    const { outbox, rejected, lines } = await outboxWith(kind, async records =>
      records.map(({ id }) =>
        id === uuid(2) ? { ok: false, code: 'NOT_FOUND', message: 'no such interception' } : { ok: true },
      ),
    )
    await outbox.put([interception(1), prompt(2, 9), prompt(3, 1)])
    await outbox.flush()
    expect(await rejected()).toEqual([uuid(2)])
    expect(outbox.deadLetters).toBe(1)
    expect(lines.find(line => line.level === 'error')?.fields).toMatchObject({
      id: uuid(2),
      code: 'NOT_FOUND',
      reason: 'no such interception',
    })
  })

  test('a record that fails its whole batch does not block other interceptions, and the order stays', async () => {
    const stored: string[] = []
    const { outbox } = await outboxWith(kind, async records => {
      if (records.some(record => record.id === uuid(2))) throw new RpcError('INTERNAL_SERVER_ERROR', 'poison')
      stored.push(...records.map(record => record.id))
      return allOk(records)
    })
    await outbox.put([interception(1), prompt(2, 1), prompt(3, 1), interception(4), prompt(5, 4), interception(6)])
    await eventually(() => expect(stored).toHaveLength(4))
    expect(stored).toEqual([uuid(1), uuid(4), uuid(5), uuid(6)])
    expect(outbox.size).toBe(2)
  })

  test('a full outbox admits no interception and still takes records', async () => {
    let gate = createGate()
    const { outbox } = await outboxWith(
      kind,
      async records => {
        await gate.opened
        return allOk(records)
      },
      { outboxMaxRecords: 2, outboxMaxBytes: 10_000 },
    )
    expect(outbox.admit()).toBe(true)
    await outbox.put([interception(1), prompt(2, 1), prompt(3, 1)])
    expect(outbox.admit()).toBe(false)
    expect(outbox.size).toBe(3)
    gate.open()
    await outbox.flush()
    expect(outbox.admit()).toBe(true)
    gate = createGate()
    await outbox.put([prompt(4, 1, 'x'.repeat(20_000))])
    expect(outbox.admit()).toBe(false)
    gate.open()
  })

  test('close sends the pending records', async () => {
    const { outbox, sent } = await outboxWith(kind, async records => allOk(records))
    await outbox.put([interception(1), prompt(2, 1)])
    const closing = outbox.close({ timeoutMs: 10_000 })
    expect(outbox.close({ timeoutMs: 0 })).toBe(closing)
    expect(await closing).toEqual({ left: 0, kept: 0 })
    expect(sent).toHaveLength(1)
    expect(outbox.admit()).toBe(false)
    await expect(outbox.put([prompt(3, 1)])).rejects.toThrow('the outbox is closed, 1 records were not taken')
  })

  test('close gives up at its deadline, ends the call under way and logs the lost records', async () => {
    let aborted = false
    const { outbox, lines } = await outboxWith(
      kind,
      (_, signal) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            aborted = true
            reject(new Error('aborted'))
          })
        }),
    )
    await outbox.put([interception(1), prompt(2, 1), prompt(3, 1)])
    expect(await outbox.close({ timeoutMs: 5 })).toEqual({ left: 3, kept: kind.isDurable ? 3 : 0 })
    expect(aborted).toBe(true)
    expect(lines.at(-1)).toMatchObject({
      level: 'error',
      fields: { left: 3, kinds: { interception: 1, promptUsage: 2 } },
    })
  })

  test('a link that closes for good while a retry waits ends the outbox at the close, without a wait', async () => {
    let isFinal = false
    const { outbox } = await outboxWith(
      kind,
      async () => {
        const reason = isFinal ? 'connection_closed' : 'connection_lost'
        throw new RpcError<string>('SERVICE_UNAVAILABLE', 'gone', { reason })
      },
      { outboxRetryMinMs: 60_000, outboxRetryMaxMs: 60_000 },
    )
    await outbox.put([interception(1)])
    await new Promise(setImmediate)
    isFinal = true
    expect(await outbox.close({ timeoutMs: 60_000 })).toEqual({ left: 1, kept: kind.isDurable ? 1 : 0 })
  })
})

test.each([
  ['before', 'the close'],
  ['during', 'the close'],
])('a link that is closed for good %s %s ends the outbox at once, with the number of its records', async when => {
  vi.useFakeTimers() // no time passes
  const closed = new RpcError<string>('SERVICE_UNAVAILABLE', 'the key was revoked', { reason: 'connection_closed' })
  const gate = createGate()
  const { outbox, sent, lines } = await outboxWith(inMemory, async () => {
    await gate.opened
    throw closed
  })
  await outbox.put([interception(1), prompt(2, 1)])
  if (when === 'before') {
    gate.open()
    await outbox.flush()
    await outbox.put([prompt(3, 1)])
  }
  const closing = outbox.close({ timeoutMs: 5_000 })
  gate.open()
  const left = when === 'before' ? 3 : 2
  expect(await closing).toEqual({ left, kept: 0 })
  expect(sent).toHaveLength(1)
  expect(lines.at(-1)).toMatchObject({ level: 'error', fields: { left, reason: 'the key was revoked' } })
  expect(lines.at(-1)?.message).toBe('records were lost: the link to the control plane is closed for good')
})

test('the pause between attempts grows, up to its limit', async () => {
  vi.useFakeTimers()
  vi.spyOn(Math, 'random').mockReturnValue(1)
  const failing = vi.fn<SendRecords>().mockRejectedValue(new Error('no connection'))
  const { outbox } = await outboxWith(inMemory, failing, { outboxRetryMinMs: 50, outboxRetryMaxMs: 300 })
  await outbox.put([interception(1)])
  for (const delayMs of [50, 100, 200, 300, 300]) {
    const before = failing.mock.calls.length
    await vi.advanceTimersByTimeAsync(delayMs - 1)
    expect(failing).toHaveBeenCalledTimes(before)
    await vi.advanceTimersByTimeAsync(1)
    expect(failing).toHaveBeenCalledTimes(before + 1)
  }
  vi.restoreAllMocks()
})

test('an idle outbox has no timer', async () => {
  vi.useFakeTimers()
  const { outbox } = await outboxWith(inMemory, async records => allOk(records))
  await outbox.put([interception(1)])
  await outbox.flush()
  expect(vi.getTimerCount()).toBe(0)
})

test('one record is sent through its own procedure, several through recordBatch', async () => {
  const plane = scriptedControlPlane()
  const sendRecords = createRecordSender(plane)
  const { signal } = new AbortController()
  expect(await sendRecords([interception(1)], signal)).toEqual([{ ok: true }])
  expect(await sendRecords([prompt(2, 1), prompt(3, 9)], signal)).toEqual([
    { ok: true },
    expect.objectContaining({ code: 'NOT_FOUND' }),
  ])
  expect(await sendRecords([prompt(2, 1, 'other')], signal)).toEqual([
    expect.objectContaining({ ok: false, code: 'CONFLICT' }),
  ])
  expect(await sendRecords([prompt(4, 9)], signal)).toEqual([expect.objectContaining({ ok: false, code: 'NOT_FOUND' })])
  expect(plane.calls).toEqual([
    'recorder.recordInterception',
    'recorder.recordBatch',
    'recorder.recordPromptUsage',
    'recorder.recordPromptUsage',
  ])
})

test.each([
  new RpcError('NOT_FOUND', 'no such procedure'),
  rpcError('duplicate_id', 'duplicate call id'),
  rpcError('draining', 'draining'),
  new RpcError('FORBIDDEN', 'not a daemon'),
])('the error $code ($message) does not reject the record, which is kept', async error => {
  const plane = scriptedControlPlane()
  plane.before = () => {
    throw error
  }
  await expect(createRecordSender(plane)([interception(1)], new AbortController().signal)).rejects.toBe(error)
})

describe.each(controlPlanes())('$name', ({ start }) => {
  test('a record with two contents of JSON escapes is cut further and kept', async () => {
    const plane = await start('http://127.0.0.1:9')
    const { ownerId, apiKeyId } = await plane.client.authorizer.isAuthorized.query({ key: plane.key })
    const startedAt = new Date()
    const id = randomUUID()
    const worst = '\u0001'.repeat(1024 * 1024)
    const sendRecords = createRecordSender(plane.client)
    const { signal } = new AbortController()
    const own: BatchRecord[] = [
      { kind: 'interception', id, initiatorId: ownerId, apiKeyId, provider: 'anthropic', model: 'm', startedAt },
      {
        kind: 'toolUsage',
        id: randomUUID(),
        interceptionId: id,
        msgId: 'm',
        tool: 't',
        input: worst,
        invocationError: worst,
        injected: false,
        createdAt: startedAt,
      },
    ]
    for (const record of [...own, ...own]) expect(await sendRecords([record], signal)).toEqual([{ ok: true }])
    const [recorded] = await plane.recorded()
    const [tool] = recorded?.tools ?? []
    const kept = String(Reflect.get(tool ?? {}, 'input'))
    expect(kept.length).toBeGreaterThanOrEqual(256 * 1024)
    expect(worst.startsWith(kept)).toBe(true)
    await plane.close()
  })
})
