/** Guessed keys at a whole bridge. */
import { expect, test } from 'vitest'
import { anthropicProvider, send, startBridge } from '../running-bridge.js'
import { scriptedControlPlane, testKey } from '../scripted-control-plane.js'

test.concurrent('behind trusted proxies a guess may wait longer than the control plane may, and still gets 401', async () => {
  const plane = scriptedControlPlane([anthropicProvider('http://127.0.0.1:9')])
  const bridge = await startBridge(plane, { controlPlaneDeadlineMs: 100 }, testKey, { trustedProxies: ['127.0.0.1'] })
  const from = (address: string) => ({
    headers: { 'x-api-key': `${'a'.repeat(10)}-${'b'.repeat(22)}`, 'x-forwarded-for': address },
  })
  try {
    for (let guess = 0; guess < 5; guess++) expect((await send(bridge, from('192.0.2.1'))).status).toBe(401)
    const startedAt = performance.now()
    expect((await send(bridge, from('192.0.2.2'))).status).toBe(401)
    expect(performance.now() - startedAt).toBeLessThan(350)
    expect(bridge.log.map(({ fields }) => Reflect.get(fields, 'address'))).toContain('192.0.2.2')
  } finally {
    await bridge.close()
  }
})

test.concurrent('only the rejection of a wrong key waits: a good key of the same address is served meanwhile', async () => {
  const plane = scriptedControlPlane([anthropicProvider('http://127.0.0.1:9')])
  const bridge = await startBridge(plane)
  const wrong = { headers: { 'x-api-key': `${'a'.repeat(10)}-${'b'.repeat(22)}` } }
  const route = { method: 'GET', path: '/bridge/anthropic/v1/nothing' }
  try {
    for (let guess = 0; guess < 4; guess++) await send(bridge, wrong)
    let isRejected = false
    const startedAt = performance.now()
    const rejected = send(bridge, wrong).then(response => {
      isRejected = true
      return response
    })
    const served = await send(bridge, { ...route, headers: { 'x-api-key': testKey } })
    expect([served.status, isRejected]).toEqual([404, false])
    expect((await rejected).status).toBe(401)
    expect(performance.now() - startedAt).toBeGreaterThan(350)
  } finally {
    await bridge.close()
  }
})

test.concurrent('of many wrong keys at once few are looked at, the others get 429, and a key that was good before is served', async () => {
  const plane = scriptedControlPlane([anthropicProvider('http://127.0.0.1:9')])
  const bridge = await startBridge(plane, { authCacheTtlMs: 0 })
  let asked = 0
  plane.before = path => {
    if (path === 'authorizer.isAuthorized') asked++
  }
  const route = { method: 'GET', path: '/bridge/anthropic/v1/nothing' }
  const wrong = (number: number) =>
    send(bridge, { ...route, headers: { 'x-api-key': `${String(number).padStart(10, '0')}-${'b'.repeat(22)}` } })
  try {
    expect((await send(bridge, { ...route, headers: { 'x-api-key': testKey } })).status).toBe(404)
    asked = 0
    const startedAt = performance.now()
    const guesses = Array.from({ length: 180 }, (_, number) => wrong(number))
    const good = await send(bridge, { ...route, headers: { 'x-api-key': testKey } })
    expect(good.status).toBe(404)
    const responses = await Promise.all(guesses)
    const rejected = responses.filter(({ status }) => status === 429)
    expect(responses.filter(({ status }) => status === 401).length).toBe(asked - 1)
    const seconds = (performance.now() - startedAt) / 1_000
    expect(asked).toBeLessThan(64 * (seconds + 1) + 3)
    expect(rejected.length).toBeGreaterThan(0)
    expect(rejected[0]?.headers['retry-after']).toBe('1')
    expect(JSON.parse(String(rejected[0]?.body))).toMatchObject({ type: 'error', error: { type: 'rate_limit_error' } })
    expect(bridge.log.length).toBeLessThan(15)
  } finally {
    await bridge.close()
  }
})
