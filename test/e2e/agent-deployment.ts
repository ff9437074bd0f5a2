/** A server on PostgreSQL with one agent, as processes of the built program. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { CreatedAgent } from '../../shared/contract/admin/agents.js'
import { makeDatabase } from '../fixtures/stores.js'
import { follow, run, runJson, startAgent, startServe, temporaryDirectory } from './process.js'

/** A running server, and the agent `a` of its user `ada`, which is not started yet. */
export async function agentDeployment() {
  const database = await makeDatabase()
  onTestFinished(database.drop)
  const env = {
    BRIDGE_ADMIN_TOKEN: 'admin-token-of-the-control-plane',
    BRIDGE_ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64'),
    DATABASE_URL: database.url,
  }
  const dataDir = await temporaryDirectory()
  const server = await startServe(dataDir, { env })
  const at = ['--port', server.port]
  await run(['users', 'create', 'ada', ...at], { env })
  const { key } = await runJson<CreatedAgent>(['agents', 'create', '--name', 'a', '--user', 'ada', ...at], { env })
  const folder = await temporaryDirectory()
  const keyFile = join(await temporaryDirectory(), 'key')
  await writeFile(keyFile, `${key}\n`)
  const agents = (...words: string[]) => run(['agents', ...words.slice(0, 2), ...at, ...words.slice(2)], { env })
  return {
    server,
    folder,
    key,
    agents,
    follow: (...words: string[]) => follow(['agents', ...words.slice(0, 2), ...at, ...words.slice(2)], env),
    /** @param url where the agent finds the server; default: the server itself */
    startAgent: (url = server.url) => startAgent(url, ['--key-file', keyFile, '--dir', folder]),
    startAgentWithKey: () => startAgent(server.url, ['--dir', folder], { BRIDGE_AGENT_KEY: key }),
    restartServer: () => startServe(dataDir, { env, args: ['--port', server.port] }),
  }
}
