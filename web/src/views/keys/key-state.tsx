import { Status } from '../../parts/status.js'

/** Whether a key works: not after its end, and not after its revocation. */
export function KeyState({ expiresAt, revokedAt }: { expiresAt: Date | null; revokedAt?: Date | null }) {
  if (revokedAt) return <Status tone="plain">Revoked</Status>
  if (!expiresAt) return <Status tone="ok">Active</Status>
  const leftMs = expiresAt.getTime() - Date.now()
  if (leftMs <= 0) return <Status tone="plain">Expired</Status>
  if (leftMs < 7 * 86_400_000) return <Status tone="warn">Expires soon</Status>
  return <Status tone="ok">Active</Status>
}
