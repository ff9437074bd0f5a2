/** Errors of calls for a process of an agent. */
import { rpcError } from '../../shared/contract/error-reasons.js'
import type { Receipt } from './past-processes.js'

export function unknownProcess(id: string) {
  return rpcError('unknown_process', `no process has the id ${JSON.stringify(id)}`)
}

export function cancelled(id: string) {
  return rpcError('cancelled', `the process ${JSON.stringify(id)} was cancelled before its start`)
}

export function outputGone(id: string, { exitCode }: Receipt) {
  const how = typeof exitCode === 'number' ? `exited with ${exitCode}` : 'was ended by a signal'
  return rpcError('output_gone', `the process ${JSON.stringify(id)} ${how}; its output is not kept any more`)
}
