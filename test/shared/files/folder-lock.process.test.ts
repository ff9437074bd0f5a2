/** The folder lock where several processes, and killed ones, are the subject. The processes run the build. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { built, kill, linesOf, scriptsOfSuite } from '../../fixtures/script-process.js'
import { temporaryFolder } from '../../fixtures/temporary-folder.js'

const spawnNode = scriptsOfSuite()

test('of processes that race for a folder left by a killed one, exactly one wins each round', {
  timeout: 60_000,
}, async () => {
  const folder = await temporaryFolder()
  const racers = await Promise.all(Array.from({ length: 6 }, () => racer(folder)))
  for (let round = 0; round < 5; round++) {
    // What a killed holder leaves: a socket file that nobody listens on.
    await deadSocket(folder, `lock-1-${round}`)
    const outcomes = await Promise.all(racers.map(({ ask }) => ask('lock')))
    expect(outcomes.filter(outcome => outcome === 'won')).toHaveLength(1)
    expect(outcomes.filter(outcome => outcome === 'data_in_use')).toHaveLength(racers.length - 1)
    await Promise.all(racers.map(({ ask }) => ask('release')))
    expect(readdirSync(folder)).toEqual([])
  }
})

/** A process that takes and releases the lock when it is asked to. */
async function racer(folder: string) {
  const child = spawnNode(`
    import { createInterface } from 'node:readline'
    import { lockFolder } from ${built('shared/files/folder-lock.js')}
    let lock
    console.log('ready')
    for await (const line of createInterface({ input: process.stdin })) {
      if (line === 'lock') {
        lock = await lockFolder(${JSON.stringify(folder)}, 'folder').catch(error => ({ reason: error.reason ?? String(error) }))
        console.log(lock.reason ?? 'won')
      } else {
        await lock.release?.()
        console.log('released')
      }
    }`)
  const lines = linesOf(child)
  await lines.next()
  const ask = async (question: string): Promise<string> => {
    child.stdin?.write(`${question}\n`)
    return (await lines.next()).value
  }
  return { ask }
}

/** Leaves a socket file that a killed process would leave. */
async function deadSocket(directory: string, name: string): Promise<void> {
  const child = spawnNode(`
    import { createServer } from 'node:net'
    createServer().listen(${JSON.stringify(join(directory, name))}, () => console.log('listening'))`)
  await linesOf(child).next()
  await kill(child)
}
