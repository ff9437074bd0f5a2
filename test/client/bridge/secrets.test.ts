/** Marks every secret, takes every way through the bridge, and searches all bytes that reach a provider or a client. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { hangUp, json, recorded, type StandInProvider, startProvider } from '../../fixtures/provider.js'
import { apiRows } from './apis.js'
import { controlPlanes, type RunningControlPlane } from './control-planes.js'
import {
  anthropicProvider,
  type ClientRequest,
  openaiProvider,
  type RunningBridge,
  send,
  startBridge,
} from './running-bridge.js'

/** secrets that the process of a daemon may hold */
const environment = {
  ANTHROPIC_API_KEY: 'sk-ant-MARKED-of-the-environment',
  OPENAI_API_KEY: 'sk-proj-MARKED-of-the-environment',
  BRIDGE_DAEMON_KEY: 'MARKEDdaem-onkeyMARKEDonkeyMARKED',
  BRIDGE_ADMIN_TOKEN: 'MARKED-admin-token-0123456789',
  DATABASE_URL: 'postgres://u:MARKED-password@h/d',
}
const before: Record<string, string | undefined> = {}
const ownKey = 'sk-MARKED-own-key-of-a-client'

describe.each(controlPlanes().slice(1))('with $name', ({ start }) => {
  let provider: StandInProvider
  let planes: RunningControlPlane[]
  let bridge: RunningBridge

  beforeEach(async () => {
    for (const [name, value] of Object.entries(environment)) {
      before[name] = process.env[name]
      process.env[name] = value
    }
    provider = await startProvider()
    planes = [await start(provider.url), await start(provider.url)]
    const [plane] = planes
    if (!plane) throw new Error('no control plane')
    bridge = await startBridge(plane.client, {}, plane.key)
  })
  afterEach(async () => {
    for (const name of Object.keys(environment)) {
      const value = before[name]
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
    await bridge.close()
    for (const plane of planes) await plane.close()
    await provider.close()
  })
  test.each(apiRows)('$name: a provider gets its own key, a client gets none', async api => {
    const keys = planes.map(({ key }) => key)
    const providerKeys = { anthropic: anthropicProvider('').keys[0] ?? '', openai: openaiProvider('').keys[0] ?? '' }
    const streaming = api.conversations.find(({ fixture, mode }) => fixture === 'everything' && mode === 'streaming')
    const blocking = api.conversations.find(({ fixture, mode }) => fixture === 'everything' && mode === 'non-streaming')
    const other = api.path.replace(/messages|chat\/completions|responses/, 'models')
    const shown: string[] = []
    for (const key of keys) {
      const credentials: [Record<string, string>, 'centralized' | 'byok'][] = [
        [{ 'x-api-key': key }, 'centralized'],
        [{ authorization: `Bearer ${key}` }, 'centralized'],
        [{ authorization: `Bearer ${key}`, 'x-api-key': key, 'api-key': key }, 'centralized'],
        [{ 'x-bridge-token': key, authorization: `Bearer ${ownKey}` }, 'byok'],
        [{ 'x-bridge-token': key, 'x-api-key': ownKey }, 'byok'],
      ]
      for (const [headers, kind] of credentials) {
        const requests: ClientRequest[] = [
          { path: api.path, body: streaming?.request ?? '' },
          { path: api.path, body: blocking?.request ?? '' },
          { path: api.path, body: blocking?.request ?? '' },
          { path: api.path, body: blocking?.request ?? '' },
          { path: other, method: 'GET' },
          { path: `${api.path}/unknown/../x` },
          { path: api.path, body: 'no JSON' },
          { path: '/bridge/nobody/v1/models', method: 'GET' },
        ]
        const from = provider.calls.length
        provider.respondWith(
          recorded(streaming?.response ?? ''),
          recorded(blocking?.response ?? ''),
          json({ error: { message: 'no' } }, 401),
          hangUp,
          json({ data: [] }),
        )
        for (const request of requests) {
          const { statusText, rawHeaders, body } = await send(bridge, { ...request, headers })
          shown.push(statusText, ...rawHeaders, body.toString())
        }
        const received = provider.calls.slice(from).map(({ url, rawHeaders, body }) => `${url} ${rawHeaders} ${body}`)
        expect(received).toHaveLength(5)
        const allowed = kind === 'byok' ? ownKey : providerKeys[api.provider]
        const forbidden = [...Object.values(environment), ...Object.values(providerKeys), ...keys, ownKey].filter(
          secret => secret !== allowed,
        )
        for (const text of received) {
          expect(text).toContain(allowed)
          for (const secret of forbidden) expect(text).not.toContain(secret)
        }
      }
    }
    const all = shown.join('\n')
    for (const secret of [...Object.values(environment), ...Object.values(providerKeys), ...keys, ownKey, 'MARKED']) {
      expect(all).not.toContain(secret)
    }
  })
})
