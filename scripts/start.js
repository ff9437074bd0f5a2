// `npm start`: builds what is not fresh, and serves. Old syntax only, because the first import has to reach an old Node.
import '../server/process/require-node.cjs'

void import('./build-and-serve.js')
