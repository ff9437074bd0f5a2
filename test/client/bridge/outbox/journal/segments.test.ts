import { expect, test } from 'vitest'
import { Segments } from '../../../../../client/bridge/outbox/journal/segments.js'
import { logLines } from './log-lines.js'
import { MemoryDisk } from './memory-disk.js'

test('a segment that is removed twice at the same time takes no other segment along', async () => {
  const disk = new MemoryDisk({ turns: 1 })
  const files = disk.process()
  const { folder } = disk
  const segments = new Segments({ folder, fsync: 'interval', files, logger: logLines(), segmentBytes: 1_000 }, [])
  const { segment: first } = await segments.writable()
  await segments.leave()
  const { segment: second } = await segments.writable()
  await Promise.all([segments.delete([first]), segments.delete([first])])
  expect(segments.list).toEqual([second])
  expect([...disk.files.keys()]).toEqual([second.path])
  await segments.closeAll()
})
