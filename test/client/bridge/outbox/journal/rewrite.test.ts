import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { OpenJournalOptions } from '../../../../../client/bridge/outbox/journal/journal.js'
import { silentLogger } from '../../../../../shared/values/log.js'
import { temporaryFolder } from '../../../../fixtures/temporary-folder.js'
import { openForTest } from './open-for-test.js'

type FsyncMode = OpenJournalOptions['fsync']

const open = (folder: string, fsync: FsyncMode = 'never') =>
  openForTest({ folder, fsync, logger: silentLogger, segmentBytes: 2_000 })

/** Whether a text stands in any file, as it is or in base64. */
async function standsIn(folder: string, text: string): Promise<boolean> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (!entry.isFile()) continue
    const content = (await readFile(join(folder, entry.name))).toString('latin1')
    if (content.includes(text)) return true
    if (content.replace(/[A-Za-z0-9+/]{8,}=*/g, part => Buffer.from(part, 'base64').toString('latin1')).includes(text))
      return true
  }
  return false
}

const recoveredFrom = async (folder: string) => {
  const journal = await open(folder)
  const recovered = new Map(journal.takeRecovered().map(({ key, slots }) => [key, [...slots].flat().map(String)]))
  await journal.close()
  return recovered
}

test.each<FsyncMode>(['always', 'interval', 'never'])(
  'a rewrite leaves no byte that was removed or replaced, and all that is live, with --outbox-fsync %s',
  async fsync => {
    const folder = await temporaryFolder()
    const first = await open(folder, fsync)
    for (let n = 0; n < 30; n++)
      await first.put(`old ${n % 10}`, 'slot', `${n < 20 ? 'REPLACED' : 'kept'} ${'x'.repeat(200)}`)
    await first.close()
    const journal = await open(folder, fsync)
    for (let n = 0; n < 60; n++) {
      await journal.put(`key ${n}`, 'start', `${n % 3 === 0 ? 'kept' : 'REMOVED'} ${'x'.repeat(200)}`)
      if (n % 3 === 0) void journal.put(`key ${n}`, 'progress', `note ${n}`)
      else if (n % 3 === 1) journal.remove(`key ${n}`)
    }
    for (let n = 2; n < 60; n += 3) journal.remove(`key ${n}`)
    for (const word of ['REPLACED', 'REMOVED']) expect([word, await standsIn(folder, word)]).toEqual([word, true])

    // Others write meanwhile.
    const rewritten = journal.rewrite()
    const late = Array.from({ length: 20 }, (_, n) => journal.put(`late ${n}`, 'slot', `${n} ${'x'.repeat(200)}`))
    await Promise.all([rewritten, ...late])
    for (const word of ['REPLACED', 'REMOVED']) expect([word, await standsIn(folder, word)]).toEqual([word, false])
    await journal.rewrite()
    await journal.put('last', 'slot', 'last')
    await journal.close()

    const recovered = await recoveredFrom(folder)
    const live = [
      ...Array.from({ length: 10 }, (_, n) => `old ${n}`),
      ...Array.from({ length: 20 }, (_, n) => `key ${3 * n}`),
      ...Array.from({ length: 20 }, (_, n) => `late ${n}`),
      'last',
    ]
    expect(new Set(recovered.keys())).toEqual(new Set(live))
    expect(recovered.get('key 3')).toEqual(['start', `kept ${'x'.repeat(200)}`, 'progress', 'note 3'])
  },
)

test('a rewrite of a journal without keys leaves nothing, and the journal takes entries afterwards', async () => {
  const folder = await temporaryFolder()
  const journal = await open(folder)
  await journal.put('key', 'slot', 'REMOVED')
  journal.remove('key')
  await journal.rewrite()
  expect(await standsIn(folder, 'REMOVED')).toBe(false)
  await journal.put('other', 'slot', 'kept')
  await journal.close()
  expect([...(await recoveredFrom(folder)).keys()]).toEqual(['other'])
})
