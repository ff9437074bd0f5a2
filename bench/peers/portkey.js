// @ts-nocheck The peers' types are there only after their installation.
/** Portkey's gateway as its own command starts it, on a free port. Sends its URL to the parent. */
import { once } from 'node:events'
import { createServer } from 'node:net'

const probe = createServer().listen(0, '127.0.0.1')
await once(probe, 'listening')
const { port } = probe.address()
await new Promise(resolve => probe.close(resolve))

process.argv.splice(2, Number.POSITIVE_INFINITY, '--headless', `--port=${port}`)
process.stdout.write = () => true // standard output belongs to the figures
await import('@portkey-ai/gateway/build/start-server.js')
for (let url = `http://localhost:${port}`; ; ) {
  const response = await fetch(url).catch(() => undefined)
  if (response?.ok) {
    process.send?.(url)
    break
  }
  await new Promise(resolve => setTimeout(resolve, 50))
}
process.on('disconnect', () => process.exit())
