/**
 * `npm run bench`: this project beside its peers in one run. `npm run bench -- memory` measures the rows of that name
 * only.
 */
import { benchBridge } from './bridge.js'
import { benchIdleConnection } from './idle-connection.js'
import { benchMemoryCall } from './memory-call.js'
import { benchMillion } from './million.js'
import { benchStore } from './store.js'
import { benchSubscription } from './subscription.js'
import { benchWebSocketCall } from './websocket-call.js'

const benches: Readonly<Record<string, () => Promise<void>>> = {
  memory: benchMemoryCall,
  websocket: benchWebSocketCall,
  subscription: benchSubscription,
  idle: benchIdleConnection,
  store: benchStore,
  bridge: benchBridge,
}
/** Takes minutes, so it runs only when it is asked for. */
const long: typeof benches = { million: benchMillion }
const wanted = process.argv.slice(2)
const all = { ...benches, ...long }
const unknown = wanted.filter(name => !Object.hasOwn(all, name))
if (unknown.length > 0) throw new Error(`no benchmark is called ${unknown}; there are ${Object.keys(all)}`)

for (const [name, bench] of Object.entries(all)) {
  if (wanted.includes(name) || (wanted.length === 0 && Object.hasOwn(benches, name))) await bench()
}
