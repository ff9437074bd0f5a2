/** The journal where other processes, and killed ones, are the subject. The processes run the build. */
import type { ChildProcess } from 'node:child_process'
import { expect, test } from 'vitest'
import { openJournal } from '../../../../../client/bridge/outbox/journal/journal.js'
import { silentLogger } from '../../../../../shared/values/log.js'
import { built, kill, linesOf, scriptsOfSuite } from '../../../../fixtures/script-process.js'
import { temporaryFolder } from '../../../../fixtures/temporary-folder.js'

const run = scriptsOfSuite()

/** A process that puts entries until it is killed, and prints the key of each that was taken. */
function writer(folder: string, fsync: string, round: number): ChildProcess {
  return run(`
    import { openJournal } from ${built('client/bridge/outbox/journal/journal.js')}
    const logger = { debug() {}, info() {}, warn() {}, error() {} }
    const options = { folder: ${JSON.stringify(folder)}, fsync: '${fsync}', logger, segmentBytes: 20_000 }
    const journal = await openJournal(options)
    console.log('open')
    let count = 0
    const work = async () => {
      for (;;) {
        const key = '${round}.' + count++
        await journal.put(key, 'start', 'x'.repeat(count % 700))
        if (count % 3 === 0) await journal.put(key, 'finished', key, { replaces: true })
        process.stdout.write(key + '\\n')
        await new Promise(setImmediate)
      }
    }
    for (let i = 0; i < 8; i++) work()`)
}

test('a second process is rejected with the pid of the first, and recovers its entries after kill -9', async () => {
  const folder = await temporaryFolder()
  const options = { folder, fsync: 'interval' as const, logger: silentLogger }
  const first = writer(folder, 'interval', 0)
  const lines = linesOf(first)
  await lines.next()
  await expect(openJournal(options)).rejects.toMatchObject({
    reason: 'data_in_use',
    message: expect.stringContaining(`process ${first.pid}`),
  })
  await lines.next()
  await kill(first)
  const journal = await openJournal(options)
  expect(journal.liveKeys).toBeGreaterThan(0)
  await journal.close()
})

test.each(['never', 'interval', 'always'])(
  'kill -9 loses no entry that was taken, again and again: fsync %s',
  async fsync => {
    const folder = await temporaryFolder()
    const taken: string[] = []
    for (let round = 0; round < 3; round++) {
      const child = writer(folder, fsync, round)
      for await (const line of linesOf(child)) {
        if (line !== 'open') taken.push(line)
        if (taken.length > (round + 1) * 100) child.kill('SIGKILL')
      }
    }
    const journal = await openJournal({ folder, fsync: 'never', logger: silentLogger })
    const recovered = new Map(journal.takeRecovered().map(({ key, slots }) => [key, slots]))
    expect(taken.length).toBeGreaterThan(300)
    expect(taken.filter(key => !recovered.has(key))).toEqual([])
    for (const [key, slots] of recovered)
      if (slots.has('finished')) expect([...slots.keys(), String(slots.get('finished'))]).toEqual(['finished', key])
    await journal.close()
  },
)
