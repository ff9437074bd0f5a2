/** `aibridge agents run`: a command on an agent, as if it ran here. */
import { randomUUID } from 'node:crypto'
import { constants } from 'node:os'
import type { ProcessOutput } from '../../../shared/contract/agents.js'
import { processLimits } from '../../../shared/contract/limits.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { cutToBytes } from '../../../shared/values/text.js'
import { printJson } from '../../process/output.js'
import { withAdmin } from './admin-client.js'
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
 * Runs a command on an agent, and ends with its exit code, or with 128 and the number of the signal that ended it.
 * Prints the first 16 KiB of the output as it grows, and the rest at the end. The first SIGINT or SIGTERM terminates
 * the command, the second kills it.
 * @throws ExitWith an exit code other than 0; RpcError agent_restarted, agent_unreachable: the outcome is unknown
 */
export async function runOnAgent(agent: string, words: readonly string[], options: RunOptions): Promise<void> {
  const { dir, json } = options
  const id = randomUUID()
  const result = await withAdmin(options, async ({ agents }) => {
    const input = { agent, id, command: commandOf(words), background: false, ...(dir !== undefined && { dir }) }
    const signals = passSignals()
    try {
      const { instanceId } = await agents.start.mutate(input, { context: { timeoutMs } })
      signals.begin(signal => agents.signal.mutate({ agent, id, signal, instanceId }))
      const printed = new GrowingOutput()
      for (;;) {
        const look = { agent, id, waitMs: lookMs, instanceId }
        const state = await agents.output.query(look, { context: { timeoutMs: timeoutMs + lookMs } })
        if (!json) printed.show(state)
        if (!state.running) return { id, instanceId, ...state }
      }
    } finally {
      signals.end()
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

/**
 * Prints an output once: the whole lines of its beginning as they come, and the rest at the end. Later output may still
 * be left out, and then stands behind a mark.
 */
export class GrowingOutput {
  #printed = 0
  #isNoted = false

  show({ output, running }: ProcessOutput): void {
    const end = running ? this.#stableEnd(output) : output.length
    process.stdout.write(output.slice(this.#printed, end))
    this.#printed = Math.max(this.#printed, end)
  }

  /** Returns the end of the lines that no further output changes. */
  #stableEnd(output: string): number {
    const head = cutToBytes(output, processLimits.headBytes)
    if (head.length < output.length && !this.#isNoted) {
      this.#isNoted = true
      process.stderr.write('the command writes much: the rest of its output is printed at its end\n')
    }
    // The last line may end in the middle of a character.
    return head.lastIndexOf('\n') + 1
  }
}

type SendSignal = (signal: 'terminate' | 'kill') => Promise<unknown>

/** Passes the signals of this process on. Those before {@link begin} are passed on by it. */
export function passSignals() {
  let send: SendSignal | undefined
  let received = 0
  // The command may have ended meanwhile, and then says so by its exit code.
  const pass = (): void => void send?.(received === 1 ? 'terminate' : 'kill').catch(() => {})
  const onSignal = (): void => {
    received++
    pass()
  }
  const names = ['SIGINT', 'SIGTERM'] as const
  for (const name of names) process.on(name, onSignal)
  return {
    begin(sender: SendSignal): void {
      send = sender
      if (received > 0) pass()
    },
    end(): void {
      for (const name of names) process.off(name, onSignal)
    },
  }
}
