/** The settings of a provider: the server keeps them as one JSON object, and each daemon reads the fields that it knows. */
import { z } from 'zod'

/** Longest time limit of a provider or a server: a day. Node's own timers end at 24 days. */
export const maxTimeLimitMs = 86_400_000

/** Largest body limit of a provider or a server. The text of a body has to fit into one string. */
export const maxBodyLimitBytes = 256 * 1024 * 1024

const timeLimit = z.number().int().min(0).max(maxTimeLimitMs)

/** Schemas of the fields. Each field takes the place of the server's setting of the same name. */
export const providerSettingsFields = {
  /** from the request until the provider's status line, in milliseconds; 0: no limit */
  firstByteTimeoutMs: timeLimit,
  /** silence inside a response, in milliseconds; 0: no limit */
  idleTimeoutMs: timeLimit,
  /** body of one request */
  maxBodyBytes: z.number().int().min(1).max(maxBodyLimitBytes),
} as const

/** Settings of one provider; a field that is not set leaves the server's setting. */
export type ProviderSettings = {
  [K in keyof typeof providerSettingsFields]?: z.output<(typeof providerSettingsFields)[K]>
}
