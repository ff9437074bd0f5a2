import type { ErrorReason } from './error-reasons.js'

/** Close codes of this service, beside the transport's. */
export const serviceCloseCodes = {
  /** the key of the peer was revoked or deleted while it was connected */
  keyRevoked: 4001,
  /** another process uses the key of the agent, and takes its place */
  replaced: 4002,
} as const

/** The codes after which a client does not dial again, each with the reason that it stands for. */
export const finalCloseCodes: Readonly<Record<number, ErrorReason>> = {
  [serviceCloseCodes.keyRevoked]: 'key_revoked',
  [serviceCloseCodes.replaced]: 'replaced',
}
