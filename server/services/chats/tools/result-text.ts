/** Results of commands as text for a model. */
import type { ListedProcess, ProcessList, ProcessOutput } from '../../../../shared/contract/agents.js'
import { chatLimits } from '../../../../shared/contract/limits.js'
import { cleanText, cutToBytes, cutToLength, utf8Bytes } from '../../../../shared/values/text.js'

/**
 * Returns the output of a process with a line on its state. Both together have at most 32 KiB.
 * @param notes further lines for the model
 */
export function outputText(id: string, output: ProcessOutput, notes: readonly string[] = []): string {
  const lines = [`[${stateOf(id, output)}]`, ...notes]
  if (output.truncated) {
    const { originalBytes, omittedBytes, cutLines } = output.truncated
    const cut = cutLines > 0 ? `, ${cutLines} long lines cut` : ''
    lines.unshift(`[${omittedBytes} of ${originalBytes} bytes left out${cut}]`)
  }
  const footer = lines.join('\n')
  const text = output.output === '' ? '(no output)' : cleanText(output.output)
  const body = cutToBytes(text, chatLimits.maxToolOutputBytes - utf8Bytes(footer) - 1)
  return `${body}${body.endsWith('\n') ? '' : '\n'}${footer}`
}

function stateOf(id: string, output: ProcessOutput): string {
  const time = seconds(output.durationMs)
  if (output.running) {
    return `still running after ${time}, as process ${id}: process_output waits further, process_signal ends it`
  }
  return `${endOf(output)} after ${time}`
}

function endOf({ exitCode, signal }: Pick<ProcessOutput, 'exitCode' | 'signal'>): string {
  if (typeof exitCode === 'number') return `exit code ${exitCode}`
  return signal === undefined ? 'ended' : `ended by ${signal}`
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(ms < 10_000 ? 2 : 0)} s`
}

/** Returns the list of processes. */
export function listText({ processes, total }: ProcessList): string {
  if (processes.length === 0) return 'This chat has no processes.'
  const lines = processes.map(process => lineOf(process))
  if (total > processes.length) lines.push(`and ${total - processes.length} more`)
  return cutToBytes(lines.join('\n'), chatLimits.maxToolOutputBytes)
}

function lineOf(process: ListedProcess): string {
  const state = process.running ? 'running' : endOf(process)
  const command = cutToLength(cleanText(process.command).replaceAll('\n', ' '), 200)
  return `${process.id}  ${state}, ${seconds(process.durationMs)}  ${command}`
}

/** Programs that print whole files. */
const dump = /^\s*(cat|head|tail|less|more|nl)\s+[^|;&<>`$()]+$/

/** Returns a note for commands that print whole files, whose middle is left out of a long output. */
export function dumpNote(command: string): string[] {
  if (!dump.test(command)) return []
  return ["[note: to read a file, print the lines that are needed, such as: sed -n '1,200p' FILE]"]
}
