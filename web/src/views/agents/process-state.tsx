import type { ProcessState as State } from '../../../../shared/contract/agents.js'
import { Status } from '../../parts/status.js'

/** Whether a process runs, or how it has ended. */
export function ProcessState({ process: { running, exitCode, signal } }: { process: State }) {
  if (running) {
    return (
      <Status tone="info" busy>
        Running
      </Status>
    )
  }
  if (signal) return <Status tone="warn">{signal}</Status>
  return <Status tone={exitCode === 0 ? 'ok' : 'bad'}>Exit {exitCode ?? '?'}</Status>
}
