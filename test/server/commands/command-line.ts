/** Commands run in this process against a server that listens. */
import { Command } from 'commander'
import { vi } from 'vitest'
import type { BridgeServerConfig } from '../../../server/control-plane/server.js'
import type { Store } from '../../../server/store/store.js'
import type { Json } from '../../e2e/process.js'
import { admin, adminToken, startServer } from '../services/running-server.js'

/** Starts a server and gives an operator's two ways to it: the commands that `add` adds, and calls. */
export async function commandLine(
  store: Store,
  add: (program: Command) => void,
  config: Partial<BridgeServerConfig> = {},
) {
  vi.stubEnv('BRIDGE_ADMIN_TOKEN', adminToken)
  const running = await startServer(store, config)
  const { port } = new URL((await running.server.listen({ host: '127.0.0.1', port: 0 })).url)

  /** Runs the words as a command and answers what it printed. */
  async function print(...words: string[]): Promise<string> {
    const printed: string[] = []
    const stdout = vi.spyOn(process.stdout, 'write').mockImplementation(chunk => {
      printed.push(String(chunk))
      return true
    })
    try {
      const program = new Command('aibridge').exitOverride().configureOutput({ writeErr: () => {} })
      add(program)
      await program.parseAsync([...words, '--port', port], { from: 'user' })
    } finally {
      stdout.mockRestore()
    }
    return printed.join('')
  }
  return {
    ...running,
    admin: running.connect(admin).admin,
    print,
    /** The same with `--json`: a `T`, as the caller knows from the contract. */
    json: async <T>(...words: string[]): Promise<Json<T>> => JSON.parse(await print(...words, '--json')),
  }
}
