import { afterEach, expect, test, vi } from 'vitest'
import { KeyGuesses } from '../../../../client/bridge/front-door/key-guesses.js'
import { anthropicProvider, send, startBridge } from '../running-bridge.js'
import { scriptedControlPlane, testKey } from '../scripted-control-plane.js'

afterEach(() => vi.restoreAllMocks())

const delays = (guesses: KeyGuesses, address: string, count: number) =>
  Array.from({ length: count }, () => guesses.note(address))

test('the first wrong key of an address is rejected at once, each further one later, up to a limit', () => {
  const guesses = new KeyGuesses({ maxDelayMs: 1_000 })
  expect(delays(guesses, '10.0.0.1', 8)).toEqual([0, 50, 100, 200, 400, 800, 1_000, 1_000])
  expect(delays(guesses, '10.0.0.2', 1)).toEqual([0])
  expect(delays(guesses, '10.0.0.1', 3_000).at(-1)).toBe(1_000)
})

test('an address that stops is forgotten, and memory is bounded', () => {
  let now = 1_000
  vi.spyOn(performance, 'now').mockImplementation(() => now)
  const guesses = new KeyGuesses({ maxDelayMs: 1_000, maxAddresses: 10, forgetAfterMs: 1_000 })
  for (let number = 0; number < 100; number++) guesses.note(`10.0.0.${number}`)
  expect(guesses.size).toBe(10)
  expect(guesses.note('10.0.0.99')).toBe(50)
  now += 1_000
  expect(guesses.note('10.0.0.99')).toBe(0)
  expect(guesses.size).toBe(1)
})

test.each([
  ['2001:db8:0:1::1', '2001:db8:0:1:ffff::2', true],
  ['2001:db8::1', '2001:db8:0:0:1::', true],
  ['::1', '::2', true],
  ['2001:db8:0:1::1', '2001:db8:0:2::1', false],
  ['10.0.0.1', '10.0.0.2', false],
])('%s and %s: one client is %s', (one, other, isSame) => {
  const guesses = new KeyGuesses({ maxDelayMs: 1_000 })
  guesses.note(one)
  expect(guesses.note(other) > 0).toBe(isSame)
})

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
