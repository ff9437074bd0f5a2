// `npm start`: builds unless the build is fresh, and serves. Old syntax only, so that an old Node gets as far as the
// check.
import '../server/process/require-node.cjs'

void import('./build-and-serve.js')
