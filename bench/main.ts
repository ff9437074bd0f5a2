/** `npm run bench`: this project beside its peers in one run. `npm run bench -- memory` measures the rows of that name only. */
import { benchIdleConnection } from './idle-connection.js'
import { benchMemoryCall } from './memory-call.js'
import { benchSubscription } from './subscription.js'
import { benchWebSocketCall } from './websocket-call.js'

const benches: Readonly<Record<string, () => Promise<void>>> = {
  memory: benchMemoryCall,
  websocket: benchWebSocketCall,
  subscription: benchSubscription,
  idle: benchIdleConnection,
}
const wanted = process.argv.slice(2)
const unknown = wanted.filter(name => !Object.hasOwn(benches, name))
if (unknown.length > 0) throw new Error(`no benchmark is called ${unknown}; there are ${Object.keys(benches)}`)

for (const [name, bench] of Object.entries(benches)) {
  if (wanted.length === 0 || wanted.includes(name)) await bench()
}
