import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { AGENT_METHODS, CLIENT_METHODS, methods } from '@agentclientprotocol/sdk/experimental/nes'
import { PROXY_METHODS } from '@agentclientprotocol/sdk/unstable'
import { describe, expect, test } from 'vitest'
import { agentMethods, cancelRequestMethod, clientMethods, loadSessionMethod } from '../../../shared/acp/methods.js'

interface Definition {
  'x-method'?: string
  'x-side'?: string
  required?: string[]
}

/** Method → whether its params must name a session, of one side, in a schema of the official SDK. */
function methodsIn(file: string, side: string): Map<string, boolean> {
  const path = createRequire(import.meta.url).resolve(`@agentclientprotocol/sdk/schema/v1/${file}`)
  const { $defs }: { $defs: Record<string, Definition> } = JSON.parse(readFileSync(path, 'utf8'))
  const found = new Map<string, boolean>()
  for (const [name, definition] of Object.entries($defs)) {
    const method = definition['x-method']
    if (method === undefined || definition['x-side'] !== side || name.endsWith('Response')) continue
    found.set(method, definition.required?.includes('sessionId') ?? false)
  }
  return found
}

describe.each([
  ['clients', 'agent', clientMethods],
  ['agents', 'client', agentMethods],
] as const)('methods of %s', (_, side, table) => {
  const stable = methodsIn('schema.json', side)
  const unstable = methodsIn('schema.unstable.json', side)

  test('the table has every method of the schema', () => {
    expect(unstable.size).toBeGreaterThan(10)
    expect([...unstable.keys()].filter(method => !table.has(method))).toEqual([])
  })

  test('the scope is the session where the schema requires a session', () => {
    const wrong = [...unstable].filter(([method, needs]) => table.get(method)?.scope !== scopeIf(needs))
    expect(wrong).toEqual([])
  })

  test('methods of the stable schema, and no others, are stable', () => {
    const listed = [...table].filter(([, { isStable }]) => isStable).map(([method]) => method)
    expect(new Set(listed)).toEqual(new Set([...stable.keys(), cancelRequestMethod]))
  })
})

test('the table has every method that the SDK names, and of the proxies', () => {
  const ofClients = [...Object.values(AGENT_METHODS), ...Object.values(PROXY_METHODS)]
  expect(ofClients.filter(method => !clientMethods.has(method))).toEqual([])
  expect(Object.values(CLIENT_METHODS).filter(method => !agentMethods.has(method))).toEqual([])
  const nextEdits = [...Object.values(methods.agent.nes), ...Object.values(methods.agent.document)]
  expect(nextEdits.filter(method => !clientMethods.has(method))).toEqual([])
})

test('the load of a session is session-scoped', () => {
  expect(clientMethods.get(loadSessionMethod)?.scope).toBe('session')
})

function scopeIf(needsSession: boolean): string {
  return needsSession ? 'session' : 'connection'
}
