import type { Agent } from '../../../../shared/contract/admin/agents.js'
import { Status } from '../../parts/status.js'

/** Whether an agent can be called. */
export function AgentState({ agent: { isConnected, revokedAt, expiresAt, lastSeenAt } }: { agent: Agent }) {
  if (revokedAt) return <Status tone="plain">Revoked</Status>
  if (isConnected) return <Status tone="ok">Connected</Status>
  if (expiresAt && expiresAt < new Date()) return <Status tone="plain">Expired</Status>
  return lastSeenAt ? <Status tone="warn">Not connected</Status> : <Status tone="plain">Never connected</Status>
}
