import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { lockFolder } from '../../../shared/files/folder-lock.js'
import { temporaryFolder } from '../../fixtures/temporary-folder.js'

const inUse = { code: 'PRECONDITION_FAILED', reason: 'data_in_use' }

test('of calls that race in one process exactly one wins', async () => {
  const folder = await temporaryFolder()
  const outcomes = await Promise.allSettled(Array.from({ length: 10 }, () => lockFolder(folder, 'folder')))
  const locks = outcomes.flatMap(outcome => (outcome.status === 'fulfilled' ? [outcome.value] : []))
  expect(locks).toHaveLength(1)
  await locks[0]?.release()
})

test('a path that is too long for a socket is locked too', async () => {
  const folder = join(await temporaryFolder(), 'd'.repeat(200), 'e'.repeat(200))
  await mkdir(folder, { recursive: true })
  const lock = await lockFolder(folder, 'folder')
  expect(readdirSync(folder)).toEqual([expect.stringMatching(/^lock-/)])
  await expect(lockFolder(folder, 'folder')).rejects.toMatchObject(inUse)
  await lock.release()
  expect(readdirSync(folder)).toEqual([])
})

test('a holder that does not answer is named by its flag', async () => {
  const folder = await temporaryFolder()
  const silent = createServer()
  await new Promise<void>(resolve => silent.listen(join(folder, 'lock-4711-x'), resolve))
  onTestFinished(() => void silent.close())
  await expect(lockFolder(folder, 'folder')).rejects.toMatchObject({
    ...inUse,
    message: expect.stringContaining('process 4711'),
  })
})

test('a holder is not disturbed by a peer that hangs up, sends something or stays, and can release the lock', async () => {
  const folder = await temporaryFolder()
  const lock = await lockFolder(folder, 'folder')
  const [flag = ''] = readdirSync(folder)
  for (let i = 0; i < 20; i++) {
    const peer = connect(join(folder, flag), () => peer.write('x'.repeat(100_000), () => peer.destroy()))
    peer.on('error', () => {})
    await once(peer, 'close')
  }
  const staying = connect({ path: join(folder, flag), allowHalfOpen: true })
  await once(
    staying.on('error', () => {}),
    'data',
  )
  await expect(lockFolder(folder, 'folder')).rejects.toMatchObject(inUse)
  await lock.release()
})
