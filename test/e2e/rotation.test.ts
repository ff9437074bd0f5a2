import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { type AdminClient, withAdmin } from '../../server/commands/common/admin-client.js'
import type { RotationResult } from '../../shared/contract/admin/secrets.js'
import { runWords, runWordsJson } from '../server/commands/command-line.js'
import { cleanUp, dataDirectory, type ServeProcess, startServe } from './process.js'

// A server's start takes a second, more on a busy machine.
vi.setConfig({ testTimeout: 60_000 })
afterEach(cleanUp)

const admin = <T>({ dataDir, port }: ServeProcess, work: (admin: AdminClient) => Promise<T>): Promise<T> =>
  withAdmin({ data: dataDir, port }, work)

test('secrets rotate changes the key in the file, and kill -9 in its midst loses nothing', async () => {
  const dataDir = await dataDirectory()
  const keyFile = async () => (await readFile(join(dataDir, 'encryption-key'), 'utf8')).trim()
  const keys = Array.from({ length: 32 }, (_, index) => `sk-${index}`)
  let server = await startServe(dataDir)
  const first = await keyFile()
  await admin(server, async ({ providers }) => {
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) await providers.upsert.mutate({ name, type: 'anthropic', keys })
  })

  // As soon as both keys are in the file secrets are sealed by either.
  const interrupted = admin(server, ({ secrets }) => secrets.rotate.mutate()).catch(() => 'interrupted')
  while ((await keyFile()) === first);
  server.kill('SIGKILL')
  await server.exited
  await interrupted
  const both = await keyFile()
  expect(both.split(',').length === 1 || both.endsWith(`,${first}`)).toBe(true)

  server = await startServe(dataDir)
  const again = await runWordsJson<RotationResult>(['secrets', 'rotate', ...server.flags])
  expect(again).toMatchObject({ unreadable: 0, oldKey: 'removed' })
  expect(again.rotated + again.kept).toBe(6 * keys.length)
  const last = await keyFile()
  expect(last).not.toContain(',')
  expect(last).not.toBe(first)

  // Right behind the end.
  expect(await runWords(['secrets', 'rotate', ...server.flags])).toMatchObject({ code: 0 })
  server.kill('SIGKILL')
  await server.exited
  server = await startServe(dataDir)
  expect(await runWordsJson<RotationResult>(['secrets', 'rotate', ...server.flags])).toEqual({
    rotated: 6 * keys.length,
    kept: 0,
    unreadable: 0,
    oldKey: 'removed',
  })
})
