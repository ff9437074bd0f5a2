import { expect, test } from 'vitest'
import { rpcError } from '../../../shared/contract/error-reasons.js'
import { createGate } from '../../fixtures/provider.js'
import { anthropicProvider, startBridge } from './running-bridge.js'
import { scriptedControlPlane } from './scripted-control-plane.js'

const getProviders = 'providerConfigurator.getProviders'

/** Starts a bridge whose first read of the providers lasts until the gate opens, and then fails with `reason`. */
async function bridgeThatReadsProviders(reason: 'connection_closed' | 'draining') {
  const failure = createGate()
  const plane = scriptedControlPlane([anthropicProvider('http://127.0.0.1:9')])
  plane.before = async path => {
    if (path !== getProviders) return
    await failure.opened
    throw rpcError(reason, 'the connection ended')
  }
  const bridge = await startBridge(plane)
  expect(plane.calls).toContain(getProviders)
  return { bridge, failure }
}

test('a bridge that is closed while it reads providers logs no failure', async () => {
  const { bridge, failure } = await bridgeThatReadsProviders('connection_closed')
  await bridge.close()
  failure.open()
  await new Promise(setImmediate)
  expect(bridge.log).toEqual([])
})

test('a read of providers that fails before the bridge is closed is logged', async () => {
  const { bridge, failure } = await bridgeThatReadsProviders('draining')
  failure.open()
  await new Promise(setImmediate)
  expect(bridge.log).toContainEqual(expect.objectContaining({ message: 'providers could not be read' }))
  await bridge.close()
})
