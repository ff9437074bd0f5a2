/** Commands run in this process against a server that listens. */
import { Command } from 'commander'
import { vi } from 'vitest'
import { runCommandLine } from '../../../server/commands/command-line.js'
import type { BridgeServerConfig } from '../../../server/control-plane/server-config.js'
import type { Store } from '../../../server/store/store.js'
import type { CommandResult, Json } from '../../e2e/process.js'
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

  /** Runs the words as a command and returns the text on both of its streams. */
  async function both(...words: string[]): Promise<{ stdout: string; stderr: string }> {
    const printed = { stdout: '', stderr: '' }
    const spies = (['stdout', 'stderr'] as const).map(name =>
      vi.spyOn(process[name], 'write').mockImplementation(chunk => {
        printed[name] += String(chunk)
        return true
      }),
    )
    try {
      const program = new Command('aibridge').exitOverride().configureOutput({ writeErr: () => {} })
      add(program)
      await program.parseAsync([...words, '--port', port], { from: 'user' })
    } finally {
      for (const spy of spies) spy.mockRestore()
    }
    return printed
  }
  const print = async (...words: string[]) => (await both(...words)).stdout
  return {
    ...running,
    admin: running.connect(admin).admin,
    both,
    /** Runs the words as a command and returns the text on stdout. */
    print,
    /** Runs the words with `--json` and returns the value: a `T`, as the caller knows from the contract. */
    json: async <T>(...words: string[]): Promise<Json<T>> => JSON.parse(await print(...words, '--json')),
  }
}

/** Runs words as the whole program does, in this process, and returns the exit code and both streams. */
export async function runWords(words: readonly string[], { isTerminal = false } = {}): Promise<CommandResult> {
  const result: CommandResult = { code: null, stdout: '', stderr: '' }
  const spies = (['stdout', 'stderr'] as const).map(name =>
    vi.spyOn(process[name], 'write').mockImplementation((chunk, encoding, callback) => {
      result[name] += String(chunk)
      const done = typeof encoding === 'function' ? encoding : callback
      done?.()
      return true
    }),
  )
  const { isTTY } = process.stderr
  process.stderr.isTTY = isTerminal
  try {
    result.code = await runCommandLine(words)
  } finally {
    process.stderr.isTTY = isTTY
    for (const spy of spies) spy.mockRestore()
  }
  return result
}

/**
 * Runs words with `--json` as {@link runWords} does, and returns the printed value: a `T`, as the caller knows from the
 * contract.
 */
export async function runWordsJson<T>(words: readonly string[]): Promise<Json<T>> {
  const { code, stdout, stderr } = await runWords([...words, '--json'])
  if (code !== 0) throw new Error(`${words.join(' ')} failed with ${code}: ${stderr}`)
  return JSON.parse(stdout)
}
