/** `npm run bench`: this project beside its peers in one run. `npm run bench -- memory` measures the rows of that name only. */
import { benchMemoryCall } from './memory-call.js'
import { benchWebSocketCall } from './websocket-call.js'

const benches: Readonly<Record<string, () => Promise<void>>> = {
  memory: benchMemoryCall,
  websocket: benchWebSocketCall,
}

for (const [name, bench] of Object.entries(benches)) {
  if (process.argv.length < 3 || process.argv.includes(name)) await bench()
}
