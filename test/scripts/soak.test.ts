import { existsSync, readdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import { filesOf, parts, variablesOf } from '../../scripts/soak-parts.js'

test('each part of a soak names files that exist, and each file of test/soak is in a part', () => {
  const files = Object.values(parts).flat()
  expect(files.filter(file => !existsSync(file))).toEqual([])
  const ours = readdirSync('test/soak', { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.test.ts'))
  expect(ours.filter(file => !files.includes(`test/soak/${file}`))).toEqual([])
})

test('a soak without parts runs all, and one of transport all of the transport', () => {
  expect(filesOf([])).toEqual(Object.values(parts).flat())
  expect(filesOf(['transport', 'heap', 'journal', 'agents', 'chats', 'crash'])).toEqual(filesOf([]))
  expect(filesOf(['heap'])).toEqual(parts.heap)
})

test('an unknown part of a soak is rejected with the list', () => {
  expect(() => filesOf(['heap', 'heaps', 'constructor'])).toThrow(
    'no part is named heaps, constructor; the parts are transport, chaos, fuzz, sockets, stops, floods, heap, journal, agents, chats, crash',
  )
})

test('options of a soak become variables of its tests, and unknown or empty ones are rejected', () => {
  expect(variablesOf(['--kills', '30', '--seed', '7'])).toEqual({ SOAK_KILLS: '30', SOAK_SEED: '7' })
  expect(() => variablesOf(['--kill', '30'])).toThrow('no option is named --kill; the options are --kills, --seed')
  expect(() => variablesOf(['--toString', '30'])).toThrow('no option is named --toString')
  expect(() => variablesOf(['--kills'])).toThrow('--kills lacks a value')
})
