import type { ChatStatus as State } from '../../../../shared/contract/chats.js'
import { Status } from '../../parts/status.js'

/** What a chat does now. */
export function ChatStatus({ status }: { status: State }) {
  switch (status) {
    case 'running':
      return (
        <Status tone="info" busy>
          Running
        </Status>
      )
    case 'interrupting':
      return (
        <Status tone="warn" busy>
          Stopping
        </Status>
      )
    case 'error':
      return <Status tone="bad">Failed</Status>
    case 'waiting':
      return <Status tone="plain">At rest</Status>
  }
}
