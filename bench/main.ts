/** `npm run bench`: this project beside its peers in one run. */
import { benchMemoryCall } from './memory-call.js'

await benchMemoryCall()
