/** A daemon that dies while it hands over what an earlier process left. */
import { Agent } from 'node:http'
import { expect, onTestFinished, test } from 'vitest'
import { program, temporaryDirectory } from '../../e2e/process.js'
import { runSeed } from '../../fixtures/random.js'
import { makeDatabase } from '../../fixtures/stores.js'
import { Choice } from '../transport/choice.js'
import { ask } from './client.js'
import { Commits } from './commits.js'
import { Deployment } from './deployment.js'
import { type Exchange, Exchanges } from './exchanges.js'
import { offencesOf } from './offences.js'
import { planOf } from './plan.js'
import { startStandIn } from './stand-in.js'
import { readStored } from './stored.js'

/** Requests of 20 kB, of which about 50 make a batch. */
const requests = 240
const promptBytes = 20_000

test('a replay that is killed twice hands over every record, once', { timeout: 120_000 }, async () => {
  const choice = new Choice(runSeed)
  const exchanges = new Exchanges()
  const commits = new Commits(exchanges)
  const database = await makeDatabase()
  onTestFinished(database.drop)
  const provider = await startStandIn(exchanges)
  onTestFinished(provider.close)
  const deployment = await Deployment.create({
    mode: 'quick',
    directory: await temporaryDirectory(),
    commandLine: program,
    choice,
    databaseUrl: database.url,
    onServerLine: line => commits.take(line),
  })
  onTestFinished(() => deployment.close())
  await deployment.server.up(60_000)
  const key = await deployment.setUp(provider.url)
  const [daemon] = deployment.daemons
  const [door] = deployment.bridges
  if (!daemon || !door) throw new Error('a quick deployment has daemons')
  await daemon.up(60_000)

  // All responses end while the control plane is away, so all records are in the daemon's outbox.
  const release = exchanges.hold()
  const agent = new Agent({ keepAlive: true })
  onTestFinished(() => agent.destroy())
  // A machine that is busy with other tests may not record each request in time, and rejects it then.
  const asked = Array.from({ length: requests }, async (_, index) => {
    for (let attempt = 0; ; attempt++) {
      const id = `crash-${runSeed}-${attempt}-${index}`
      const plan = { ...planOf(id, choice, { promptBytes }), client: 'reads' as const }
      const outcome = await ask(exchanges, exchanges.ask(plan, door.name), { url: door.url, key, agent })
      if (outcome !== 'rejected') return outcome
    }
  })
  // A rejected request has an end too, which is committed while the control plane is there.
  const wasCalled = ({ calledAt }: Exchange) => calledAt.length > 0
  const called = () => exchanges.all.filter(wasCalled).length
  await expect.poll(called, { timeout: 60_000 }).toBe(requests)
  await deployment.server.kill()
  release()
  expect(new Set(await Promise.all(asked))).toEqual(new Set(['whole']))
  await daemon.kill()
  await deployment.server.up(60_000)

  const committed = () => exchanges.all.filter(one => wasCalled(one) && one.committedAt !== undefined).length
  expect(committed()).toBe(0)
  for (let replay = 1; replay <= 2; replay++) {
    const first = exchanges.next('committed', wasCalled, 60_000)
    daemon.start()
    await first
    await daemon.kill()
    expect(committed()).toBeLessThan(requests)
  }
  await daemon.up(60_000)
  await deployment.drained([daemon], 60_000)
  expect(committed()).toBe(requests)
  expect(offencesOf(exchanges.all, await readStored(deployment.client))).toEqual([])
  expect(deployment.offences).toEqual([])
})
