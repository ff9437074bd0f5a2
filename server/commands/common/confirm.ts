import { createInterface } from 'node:readline'
import { RpcError } from '../../../shared/rpc/errors.js'

/** The terminal of a question. */
export interface Terminal {
  input: NodeJS.ReadableStream & { isTTY?: boolean }
  /** a stream other than stdout, which carries the command's result */
  output: NodeJS.WritableStream
}

/**
 * Asks the person at the terminal to type a word.
 * @throws RpcError `BAD_REQUEST` (config_invalid) if stdin is no terminal, or if the typed word differs
 */
export async function confirmByTyping(
  word: string,
  question: string,
  { input, output }: Terminal = { input: process.stdin, output: process.stderr },
): Promise<void> {
  if (!input.isTTY) throw unconfirmed('--yes: is missing; without a terminal on stdin the command cannot ask')
  const terminal = createInterface({ input, output })
  try {
    const typed = await new Promise<string | undefined>(resolve => {
      // Ctrl-C and Ctrl-D end the input.
      terminal.once('close', () => resolve(undefined))
      terminal.question(`${question}\nType ${JSON.stringify(word)} to go on: `, resolve)
    })
    // The cursor still stands behind the question.
    if (typed === undefined) output.write('\n')
    if (typed?.trim() !== word) throw unconfirmed(`the typed word is not ${JSON.stringify(word)}; nothing was done`)
  } finally {
    terminal.close()
  }
}

function unconfirmed(message: string): RpcError {
  return new RpcError('BAD_REQUEST', message, { reason: 'config_invalid' })
}
