import { describe, expect, test } from 'vitest'
import type { Interception } from '../../../shared/contract/admin/interceptions.js'
import { json } from '../../fixtures/provider.js'
import { bridged } from './bridged.js'
import { controlPlanes, type Recorded } from './control-planes.js'
import { clientsBesideProject, type ExpectedRecord, realClients } from './real-clients.js'
import { send } from './running-bridge.js'

/** Returns the facts of a record that the table names. */
function factsOf(record: Recorded, earlier: readonly Recorded[]) {
  const { client, clientSessionId, metadata, correlatingToolCallId, parentId } = record.interception as Interception // as the control plane returns it
  const step = earlier.findIndex(({ interception }) => Reflect.get(interception, 'id') === parentId)
  const [prompt = null, ...more] = record.prompts.map(prompt => Reflect.get(prompt, 'prompt'))
  expect(more).toEqual([])
  return {
    client,
    clientSessionId,
    prompt,
    tools: record.tools.map(tool => [Reflect.get(tool, 'tool'), Reflect.get(tool, 'toolCallId')]),
    metadata: metadata ?? {},
    correlatingToolCallId,
    parentStep: parentId === null ? null : step,
  } satisfies Record<keyof ExpectedRecord, unknown>
}

describe.each(controlPlanes().filter(({ name }) => name.includes('real')))('with $name', ({ start }) => {
  const the = bridged(start)

  test.each([...realClients, ...clientsBesideProject()])('the requests of $client are recorded right', async one => {
    for (const [at, { route, headers, body, answer }] of one.steps.entries()) {
      the.provider.respondWith(json(answer))
      const provider = route === '/v1/messages' ? 'anthropic' : 'openai'
      const response = await send(the.bridge, {
        path: `/bridge/${provider}${route}`,
        headers: { ...headers, 'x-api-key': the.plane.key, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
      expect(response.status).toBe(200)
      // The next request comes after this one's records: each client waits for its response.
      await the.recordedOf(at + 1)
    }
    const records = await the.recordedOf(one.steps.length)
    for (const [at, record] of records.entries()) {
      const expected = one.steps[at]?.expect ?? {}
      expect(factsOf(record, records.slice(0, at))).toMatchObject(
        Object.fromEntries(Object.entries(expected).filter(([name]) => name !== 'tokens')),
      )
    }
  })

  test("the prompt of a client's own request says so, and a user's prompt does not", async () => {
    const opencode = realClients.find(({ client }) => client.startsWith('OpenCode'))
    for (const [at, { route, headers, body, answer }] of (opencode?.steps ?? []).entries()) {
      the.provider.respondWith(json(answer))
      const path = `/bridge/anthropic${route}`
      await send(the.bridge, { path, headers: { ...headers, 'x-api-key': the.plane.key }, body: JSON.stringify(body) })
      await the.recordedOf(at + 1)
    }
    const [title, plan] = await the.recordedOf(2)
    expect(title?.prompts).toMatchObject([{ prompt: 'Plan this.', metadata: { request_kind: 'title' } }])
    expect(plan?.prompts).toMatchObject([{ prompt: 'Plan this.', metadata: null }])
  })
})
