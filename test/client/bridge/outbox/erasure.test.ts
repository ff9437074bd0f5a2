/** What an outbox does when a user is erased. */
import { randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { DeadLetters } from '../../../../client/bridge/outbox/dead-letters.js'
import { Delivery } from '../../../../client/bridge/outbox/delivery.js'
import { type JournalOutboxOptions, openJournalOutbox } from '../../../../client/bridge/outbox/journal-outbox.js'
import type { SendRecords } from '../../../../client/bridge/outbox/outbox.js'
import type { BatchRecord } from '../../../../shared/contract/recorder.js'
import { eventually } from '../../../fixtures/eventually.js'
import { createGate } from '../../../fixtures/provider.js'
import { memoryLogger } from '../running-bridge.js'
import { outboxFolder, outboxKinds } from './outbox-kinds.js'

const [erased, other] = [randomUUID(), randomUUID()]
const at = new Date('2026-01-02T03:04:05.678Z')

/** The records of an interception, whose words name its user. */
function requestOf(initiatorId: string) {
  const id = randomUUID()
  const interception: BatchRecord<'interception'> = {
    kind: 'interception',
    id,
    initiatorId,
    apiKeyId: 'k'.repeat(10),
    provider: 'anthropic',
    model: 'm',
    startedAt: at,
  }
  const words = `secret words of ${initiatorId}`
  const prompt = { kind: 'promptUsage' as const, id: randomUUID(), interceptionId: id, msgId: 'm', prompt: words }
  const end = { kind: 'interceptionEnded' as const, id, endedAt: at }
  return { id, interception, rest: [{ ...prompt, createdAt: at }, end] satisfies BatchRecord[] }
}
const usersOf = (records: readonly BatchRecord[]) =>
  records.flatMap(record => (record.kind === 'promptUsage' ? [record.prompt.split(' ').at(-1)] : []))

const allOk: SendRecords = async records => records.map(() => ({ ok: true }))

describe.each(outboxKinds)('an outbox $name', kind => {
  async function openWith(send: SendRecords) {
    const sent: BatchRecord[] = []
    const { logger } = memoryLogger()
    const opened = await kind.open({
      send: (records, signal) => {
        sent.push(...records)
        return send(records, signal)
      },
      logger,
      limits: { outboxRetryMinMs: 1, outboxRetryMaxMs: 2 },
    })
    return { ...opened, sent }
  }

  test('pending records of an erased user are dropped, and those of others are handed over', async () => {
    let isAway = true
    const { outbox, sent } = await openWith(async records => {
      if (isAway) throw new Error('away')
      return records.map(() => ({ ok: true }))
    })
    for (const user of [other, erased, other, erased]) {
      const { interception, rest } = requestOf(user)
      await outbox.begin(interception, rest)
      await outbox.put(rest)
    }
    const counts = await outbox.erase(new Set([erased, randomUUID()]))
    expect(Object.fromEntries(counts)).toEqual({ [erased]: 4 })
    expect(outbox.size).toBe(4)
    sent.splice(0)
    isAway = false
    await outbox.flush()
    expect(new Set(usersOf(sent))).toEqual(new Set([other]))
    expect(outbox.size).toBe(0)
  })

  test('a batch under way is waited for, and its outcome brings nothing of the erased user back', async () => {
    const gate = createGate()
    const { outbox, sent, rejected } = await openWith(async records => {
      await gate.opened
      return records.map((_, index) =>
        index === 0
          ? { ok: false, code: 'NOT_FOUND', message: 'the purge was first' }
          : { ok: false, code: 'BAD_REQUEST', message: 'no' },
      )
    })
    const { interception, rest } = requestOf(erased)
    await outbox.begin(interception, rest)
    await outbox.put(rest)
    await eventually(() => expect(sent).toHaveLength(2))
    // The outbox has looked for letters to be sent again then, so the next erasure begins at once.
    await outbox.erase(new Set([randomUUID()]))
    let isErased = false
    const erasing = outbox.erase(new Set([erased])).then(counts => {
      isErased = true
      return counts
    })
    await new Promise(setImmediate)
    expect(isErased).toBe(false)
    gate.open()
    expect((await erasing).get(erased)).toBe(2)
    await outbox.flush()
    expect(sent).toHaveLength(2)
    expect(await rejected()).toEqual([])
    expect(outbox.size).toBe(0)
  })

  test('a request under way when its user is erased leaves nothing, and no other one begins', async () => {
    const { outbox, sent } = await openWith(allOk)
    const [open, unserved, later, foreign] = [erased, erased, erased, other].map(requestOf)
    if (!open || !unserved || !later || !foreign) throw new Error('there are four')
    await outbox.begin(open.interception, open.rest)
    await outbox.begin(unserved.interception, unserved.rest)
    expect(outbox.hasErased(erased)).toBe(false)
    await outbox.erase(new Set([erased]))
    outbox.note(open.id, open.rest)
    await outbox.put(open.rest)
    await outbox.put([unserved.interception, ...unserved.rest])
    expect([outbox.hasErased(erased), outbox.hasErased(other)]).toEqual([true, false])
    await expect(outbox.begin(later.interception, later.rest)).rejects.toThrow('erased')
    await outbox.put([later.interception, ...later.rest])
    await outbox.begin(foreign.interception, foreign.rest)
    await outbox.put(foreign.rest)
    await outbox.flush()
    expect(usersOf(sent)).toEqual([other])
    await outbox.close({ timeoutMs: 1_000 })
    expect(outbox.isEmpty).toBe(true)
  })

  test('an erasure waits for the control plane’s responses to what the user began, and for those of no other', async () => {
    const { outbox } = await openWith(allOk)
    const [recorded, failed] = [createGate(), createGate()]
    const failing = failed.opened.then(() => Promise.reject(new Error('a response was lost')))
    const [one, two, foreign] = [erased, erased, other].map(requestOf)
    if (!one || !two || !foreign) throw new Error('there are three')
    await outbox.begin(one.interception, one.rest, recorded.opened)
    await outbox.begin(two.interception, two.rest, failing)
    await outbox.begin(foreign.interception, foreign.rest, createGate().opened)
    const finished: string[] = []
    const erasing = [
      outbox.erase(new Set([erased])).then(() => finished.push('first')),
      outbox.erase(new Set([erased])).then(() => finished.push('repeat')),
    ]
    for (const gate of [recorded, failed]) {
      // One erasure after the other works on the files.
      await outbox.erase(new Set([randomUUID()]))
      expect(finished).toEqual([])
      gate.open()
    }
    await Promise.all(erasing)
    expect(finished).toEqual(['first', 'repeat'])
  })

  test('an outbox is empty when all records were handed over, and not before', async () => {
    const { outbox } = await openWith((_, signal) => {
      return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    })
    const { interception, rest } = requestOf(other)
    await outbox.begin(interception, rest)
    await outbox.put(rest)
    await outbox.close({ timeoutMs: 0 })
    expect(outbox.isEmpty).toBe(false)
  })
})

test.each<'BAD_REQUEST' | 'NOT_FOUND'>(['BAD_REQUEST', 'NOT_FOUND'])(
  'an erasure waits for the dead letters of a batch, and its own %s records are neither kept nor sent again',
  async code => {
    const gate = createGate()
    const [sent, kept]: [BatchRecord[], BatchRecord[]] = [[], []]
    const { logger } = memoryLogger()
    const delivery = new Delivery({
      send: async records => {
        sent.push(...records)
        if (sent.length === 1) return [{ ok: true }]
        return records.map((_, index) => ({ ok: false, code: index === 0 ? 'BAD_REQUEST' : code, message: 'no' }))
      },
      logger,
      limits: { outboxRetryMinMs: 1, outboxRetryMaxMs: 2 },
      keepRejected: async ({ record }) => {
        kept.push(record)
        await gate.opened
        return true
      },
    })
    const delivered: string[] = []
    // The first parcel is a batch of its own; the others share the next one.
    for (const userId of [randomUUID(), other, erased]) {
      const { interception, rest } = requestOf(userId)
      const records = rest.slice(0, 1).map(record => ({ record, bytes: 1 }))
      delivery.add({ records, interception, userId, onDelivered: () => delivered.push(userId) })
    }
    await eventually(() => expect(usersOf(kept)).toEqual([other]))
    let isErased = false
    const erasing = delivery.erase(new Set([erased])).then(counts => {
      isErased = true
      return counts
    })
    await new Promise(setImmediate)
    expect(isErased).toBe(false)
    gate.open()
    expect(Object.fromEntries(await erasing)).toEqual({ [erased]: 1 })
    await delivery.flush()
    expect(usersOf(kept)).toEqual([other])
    expect(sent).toHaveLength(3)
    expect([delivery.size, delivered.slice(1)]).toEqual([0, [other, erased]])
  },
)

describe('the files of an outbox', () => {
  async function open(options: Partial<JournalOutboxOptions> = {}) {
    const { logger, lines } = memoryLogger()
    const folder = options.folder ?? (await outboxFolder())
    const outbox = await openJournalOutbox({ send: allOk, logger, daemonInstance: randomUUID(), ...options, folder })
    onTestFinished(async () => void (await outbox.close({ timeoutMs: 0 })))
    return { outbox, folder, lines }
  }
  const rejecting: SendRecords = async records => records.map(() => ({ ok: false, code: 'BAD_REQUEST', message: 'no' }))
  const silent: SendRecords = (_, signal) =>
    new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))

  const away: SendRecords = () => Promise.reject(new Error('away'))

  async function put({ outbox }: Awaited<ReturnType<typeof open>>, user: string) {
    const { interception, rest } = requestOf(user)
    await outbox.begin(interception, rest)
    await outbox.put(rest)
  }

  test('an id stays with the folder', async () => {
    const first = await open()
    await first.outbox.close({ timeoutMs: 0 })
    const [again, another] = [await open({ folder: first.folder }), await open()]
    expect(again.outbox.id).toBe(first.outbox.id)
    expect(another.outbox.id).not.toBe(first.outbox.id)
  })

  test('no byte of an erased user is left in any file, of whatever the user did', async () => {
    // Handed over: the bytes stay in the journal until it is tidied.
    const delivering = await open()
    const { folder } = delivering
    for (const user of [erased, other]) await put(delivering, user)
    await delivering.outbox.flush()
    expect(await filesWith(folder, erased)).not.toEqual([])
    await delivering.outbox.close({ timeoutMs: 1_000 })
    expect(await filesWith(folder, erased)).toEqual([])
    // Rejected for good, and marked to be sent again.
    const lettering = await open({ folder, send: rejecting })
    for (const user of [erased, other]) await put(lettering, user)
    await lettering.outbox.flush()
    await lettering.outbox.close({ timeoutMs: 1_000 })
    expect(lettering.outbox.isEmpty).toBe(false)
    const letters = new DeadLetters(folder)
    const own = (await letters.list()).filter(({ interception }) => interception?.initiatorId === erased)
    await letters.retry(own.slice(0, 1).map(({ name }) => name))
    // Left by a process that died while it wrote a letter.
    await writeFile(join(folder, 'dead-letters', 'unfinished-1'), `secret words of ${erased}`)
    // A part of the journal that could not be read.
    await writeFile(join(folder, 'damaged-segment-1-0'), `secret words of ${erased}`)
    // Pending from a process before, pending, and under way.
    const dying = await open({ folder, send: silent })
    for (const user of [erased, other]) await put(dying, user)
    await dying.outbox.close({ timeoutMs: 0 })
    const last = await open({ folder, send: away })
    for (const user of [erased, other]) {
      await put(last, user)
      const { id, interception, rest } = requestOf(user)
      await last.outbox.begin(interception, rest)
      last.outbox.note(id, rest)
    }

    const counts = await last.outbox.erase(new Set([erased]))
    expect(counts.get(erased)).toBeGreaterThanOrEqual(7)
    expect(await filesWith(folder, erased)).toEqual([])
    await last.outbox.close({ timeoutMs: 0 })
    expect(await filesWith(folder, erased)).toEqual([])

    const sent: BatchRecord[] = []
    const next = await open({
      folder,
      send: async records => {
        sent.push(...records)
        return records.map(() => ({ ok: true }))
      },
    })
    await next.outbox.flush()
    expect(usersOf(sent)).toEqual([other, other, other])
    expect((await letters.list()).length).toBeGreaterThan(0)
  })

  test('a damaged part of the journal outlives an end without pending records, and the outbox is not empty', async () => {
    const { outbox, folder } = await open()
    await writeFile(join(folder, 'damaged-segment-1-0'), 'words of somebody')
    await outbox.close({ timeoutMs: 0 })
    expect(outbox.isEmpty).toBe(false)
    expect(await filesWith(folder, 'words of somebody')).toHaveLength(1)
  })

  test.each(
    (['finished', 'progress'] as const).flatMap(slot =>
      (['pending', 'rejected', 'sent again'] as const).map(state => ({ slot, state })),
    ),
  )(
    'records ($slot, $state) whose interception was damaged are erased with their user only',
    async ({ slot, state }) => {
      const dying = await open({ send: silent })
      const { id, interception, rest } = requestOf(erased)
      await dying.outbox.begin(interception, [])
      if (slot === 'finished') await dying.outbox.put(rest)
      else dying.outbox.note(id, rest)
      await dying.outbox.close({ timeoutMs: 0 })
      const { folder } = dying
      await damageInterception(folder)
      const letters = new DeadLetters(folder)
      let last = await open({ folder, send: state === 'pending' ? away : rejecting })
      if (state !== 'pending') {
        await last.outbox.flush()
        expect(await letters.list()).toHaveLength(rest.length)
      }
      if (state === 'sent again') {
        await last.outbox.close({ timeoutMs: 1_000 })
        await letters.retry()
        last = await open({ folder, send: away })
        await eventually(() => expect(last.outbox.size).toBe(rest.length))
      }
      expect((await last.outbox.erase(new Set([other]))).size).toBe(0)
      const counts = await last.outbox.erase(new Set([erased]))
      expect(Object.fromEntries(counts)).toEqual({ [erased]: rest.length })
      expect(await filesWith(folder, erased)).toEqual([])
    },
  )

  test.each(['dead-letters/unfinished-1', 'dead-letters/torn.json', 'retry/torn.json'])(
    '%s is erased if it names an erased user, and stays if not',
    async path => {
      const { outbox, folder } = await open()
      for (const [user, isLeft] of [
        [other, true],
        [erased, false],
      ] as const) {
        await writeFile(join(folder, path), `{"userId":"${user}","record":{"prompt":"secret words of ${user}`)
        await outbox.erase(new Set([erased]))
        expect(await filesWith(folder, user)).toHaveLength(isLeft ? 1 : 0)
      }
    },
  )

  test('a dead letter that cannot be written leaves no file', async () => {
    const folder = await outboxFolder()
    const letters = new DeadLetters(folder)
    await letters.open()
    const { interception } = requestOf(erased)
    const rejection = { ok: false as const, code: 'BAD_REQUEST' as const, message: 'no' }
    const rejected = { record: interception, interception, userId: erased, rejection }
    // A folder in the place of the letter, which no file can replace.
    await mkdir(join(folder, 'dead-letters', `interception-${interception.id}.json`))
    await expect(letters.keep(rejected)).rejects.toThrow()
    expect(await filesWith(folder, erased)).toEqual([])
  })

  test('a dead letter of an earlier process is erased', async () => {
    const dying = await open({ send: silent })
    await put(dying, erased)
    await dying.outbox.close({ timeoutMs: 0 })
    const { folder } = dying
    const lettering = await open({ folder, send: rejecting })
    await lettering.outbox.flush()
    expect(await new DeadLetters(folder).list()).toHaveLength(3)
    expect((await lettering.outbox.erase(new Set([erased]))).get(erased)).toBe(3)
    expect(await filesWith(folder, erased)).toEqual([])
  })
})

/** Damages the frame of the journal in which an interception stands. */
async function damageInterception(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!name.startsWith('segment')) continue
    const bytes = await readFile(join(folder, name))
    const at = bytes.indexOf('"kind":"interception"')
    if (at < 0) continue
    bytes[at] = 0
    await writeFile(join(folder, name), bytes)
    return
  }
  throw new Error('no interception stands in the journal')
}

/** The files below a folder in which a text stands, as it is or in base64. */
async function filesWith(folder: string, text: string): Promise<string[]> {
  const found: string[] = []
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    const content = (await readFile(path)).toString('latin1')
    const plain =
      content + content.replace(/[A-Za-z0-9+/]{40,}=*/g, part => Buffer.from(part, 'base64').toString('latin1'))
    if (plain.includes(text)) found.push(path)
  }
  return found
}
