import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openJournal } from '../../../../../client/bridge/outbox/journal/journal.js'
import { silentLogger } from '../../../../../shared/values/log.js'
import { temporaryFolder } from '../../../../fixtures/temporary-folder.js'

test('the newest payload of each slot of a key that is not removed is recovered in the order of the keys', async () => {
  const folder = await temporaryFolder()
  const journal = await open(folder)
  expect(journal.takeRecovered()).toEqual([])
  await journal.put('b', 'start', 'b 1')
  await journal.put('a', 'start', 'a 1')
  await journal.put('c', 'start', 'c 1')
  await Promise.all([journal.put('a', 'progress', 'a 2'), journal.put('a', 'progress', 'a 3')])
  await journal.put('b', 'finished', Buffer.from('b 2'), { replaces: true })
  journal.remove('c')
  expect(journal.liveKeys).toBe(2)
  await journal.close()

  const next = await open(folder)
  expect(next.liveKeys).toBe(2)
  expect(next.takeRecovered().map(({ key, slots }) => [key, ...[...slots].flat().map(String)])).toEqual([
    ['b', 'finished', 'b 2'],
    ['a', 'start', 'a 1', 'progress', 'a 3'],
  ])
  expect(next.takeRecovered()).toEqual([])
  await next.close()
})

test('a folder that is open is rejected until it is closed', async () => {
  const folder = await temporaryFolder()
  const journal = await open(folder)
  await expect(open(folder)).rejects.toMatchObject({ code: 'PRECONDITION_FAILED', reason: 'data_in_use' })
  await journal.close()
  await (await open(folder)).close()
})

test('a folder is made for its owner alone', async () => {
  const folder = join(await temporaryFolder(), 'a', 'b')
  await (await open(folder)).close()
  expect((await stat(folder)).mode & 0o777).toBe(0o700)
})

function open(folder: string) {
  return openJournal({ folder, fsync: 'never', logger: silentLogger })
}
