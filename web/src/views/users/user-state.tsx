import type { User } from '../../../../shared/contract/admin/users.js'
import { Status } from '../../parts/status.js'

/** Whether the keys of a user work. */
export function UserState({ user }: { user: User }) {
  if (user.deletedAt) return <Status tone="plain">Deleted</Status>
  if (user.isSystem) return <Status tone="info">System</Status>
  if (user.status === 'suspended') return <Status tone="warn">Suspended</Status>
  return <Status tone="ok">Active</Status>
}
