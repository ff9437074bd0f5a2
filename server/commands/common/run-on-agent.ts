/** `aibridge agents run`: a command on an agent, as if it ran here. */
import { randomUUID } from 'node:crypto'
import { constants } from 'node:os'
import type { ProcessOutput } from '../../../shared/contract/agents.js'
import { processLimits } from '../../../shared/contract/limits.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { printJson } from '../../process/output.js'
import { type AdminClient, withAdmin } from './admin-client.js'
import { ExitWith } from './exit-with.js'
import type { CommonOptions } from './options.js'

/** Options of `agents run`. */
export interface RunOptions extends CommonOptions {
  /** where the command runs */
  dir?: string
}

/** Between two looks at the output of a running command. */
const lookMs = 1_000
/** The server says first that an agent does not respond. */
const timeoutMs = processLimits.patienceMs + 10_000

/**
 * Runs a command on an agent, prints its output as it grows, and ends with its exit code, or with 128 and the number of
 * the signal that ended it. The first SIGINT or SIGTERM terminates the command, the second kills it.
 * @throws ExitWith an exit code other than 0; RpcError agent_restarted, agent_unreachable: the outcome is unknown
 */
export async function runOnAgent(agent: string, words: readonly string[], options: RunOptions): Promise<void> {
  const { dir, json } = options
  const id = randomUUID()
  const result = await withAdmin(options, async ({ agents }) => {
    const input = { agent, id, command: commandOf(words), background: false, ...(dir !== undefined && { dir }) }
    const { instanceId } = await agents.start.mutate(input, { context: { timeoutMs } })
    const unwatch = passSignals(signal => agents.signal.mutate({ agent, id, signal, instanceId }))
    const printed = new GrowingOutput()
    try {
      for (;;) {
        const look = { agent, id, waitMs: lookMs, instanceId }
        const state = await agents.output.query(look, { context: { timeoutMs: timeoutMs + lookMs } })
        if (!json) printed.show(state)
        if (!state.running) return { id, instanceId, ...state }
      }
    } finally {
      unwatch()
    }
  }).catch((error: unknown) => {
    if (!(error instanceof RpcError) || error.reason === 'unknown_row') throw error
    const { code, reason, mayHaveRun } = error
    throw new RpcError<string>(code, `${error.message} (process ${id})`, { reason, mayHaveRun, cause: error })
  })
  if (json) printJson(result)
  const code = exitCodeOf(result)
  if (code !== 0) throw new ExitWith(code)
}

/** One word is a line for the shell; of several, each stays the word that it is. */
export function commandOf(words: readonly string[]): string {
  const [only = ''] = words
  return words.length === 1 ? only : words.map(word => `'${word.replaceAll("'", `'\\''`)}'`).join(' ')
}

function exitCodeOf({ exitCode, signal }: ProcessOutput): number {
  if (typeof exitCode === 'number') return exitCode
  const numbers: Readonly<Record<string, number>> = constants.signals
  return 128 + (numbers[signal ?? ''] ?? 0)
}

/** Prints the lines of an output once, while nothing is left out; the rest at the end. */
export class GrowingOutput {
  #printed = ''

  show({ output, running, truncated }: ProcessOutput): void {
    if (running && truncated) return
    // The last line may end in the middle of a character.
    const shown = running ? output.slice(0, output.lastIndexOf('\n') + 1) : output
    let same = 0
    while (same < this.#printed.length && shown[same] === this.#printed[same]) same++
    process.stdout.write(shown.slice(same))
    if (shown.length > this.#printed.length) this.#printed = shown
  }
}

function passSignals(send: (signal: 'terminate' | 'kill') => ReturnType<AdminClient['agents']['signal']['mutate']>) {
  let signals = 0
  // The command may have ended meanwhile, and then says so by its exit code.
  const onSignal = () => void send(signals++ === 0 ? 'terminate' : 'kill').catch(() => {})
  const names = ['SIGINT', 'SIGTERM'] as const
  for (const name of names) process.on(name, onSignal)
  return () => {
    for (const name of names) process.off(name, onSignal)
  }
}
