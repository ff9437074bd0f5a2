/** Rejected keys on their way from a daemon to an operator, with the real control plane. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { eventually } from '../../../fixtures/eventually.js'
import { json } from '../../../fixtures/provider.js'
import { send } from '../running-bridge.js'
import { startWholeServer, type WholeServer } from '../whole-server.js'

let whole: WholeServer
beforeAll(async () => {
  whole = await startWholeServer()
})
afterAll(() => whole.close())

test('an operator sees a rejected key, and a change of the provider gives the key a new chance', async () => {
  const { admin, provider, key } = whole
  const call = (content = 'hello') =>
    send(whole, {
      headers: { 'x-api-key': key },
      body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content }] }),
    })
  const keys = ['sk-ant-first-key-0123456789', 'sk-ant-second-key-0123456789']
  await admin.providers.upsert.mutate({ name: 'anthropic', keys })
  const details = async () => {
    const list = await admin.providers.list.query()
    return list.find(({ name }) => name === 'anthropic')?.keyDetails ?? []
  }
  const [preferred] = await details()
  const used = () => provider.calls.map(({ headers }) => headers['x-api-key'])
  await eventually(async () => {
    provider.respondWith(json({}))
    await call()
    expect(used().at(-1)).toBe(keys[0])
  })
  const before = used().length
  provider.respondWith(json({}, 401), json({}), json({}))
  expect([(await call()).status, (await call()).status]).toEqual([200, 200])
  expect(used().slice(before)).toEqual([keys[0], keys[1], keys[1]])
  const { interception } = await whole.newest()
  expect(interception.credentialHint).toBe('sk-a…6789')
  await eventually(async () =>
    expect((await details()).map(({ rejection }) => rejection)).toEqual([
      { status: 401, model: null, reportedBy: 'embedded', at: expect.any(Date) },
      null,
    ]),
  )
  const { entries } = await admin.audit.list.query({ action: 'providers.keyRejected' })
  expect(entries).toMatchObject([{ actor: 'embedded', target: 'anthropic', details: { keyId: preferred?.id } }])
  await admin.providers.keys.order.mutate({ name: 'anthropic', ids: [preferred?.id ?? ''] })
  await eventually(async () => {
    provider.respondWith(json({}))
    await call('another conversation, which has no key yet')
    expect(used().at(-1)).toBe(keys[0])
  })
})
