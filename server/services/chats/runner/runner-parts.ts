/** The parts that all runs of a server share. */
import type { Logger } from '../../../../shared/values/log.js'
import type { ChatStore } from '../../../store/store.js'
import type { AgentHosts } from '../../agent-hosts.js'
import type { ChatKeys } from '../chat-keys.js'
import type { Episodes } from '../episodes.js'
import type { ChatModels } from '../model.js'
import type { RunChanges } from '../run-changes.js'

/** The numbers of a runner, which tests make small: see `chatLimits`. */
export type RunnerLimits = Record<
  | 'maxRunning'
  | 'maxSteps'
  | 'maxToolCalls'
  | 'maxAttempts'
  | 'maxToolAttempts'
  | 'maxRetryAfterMs'
  | 'retryMinMs'
  | 'retryMaxMs'
  | 'leaseMs'
  | 'renewMs'
  | 'pollMs'
  | 'interruptTakeoverMs'
  | 'keyCheckMs',
  number
>

/** The parts of a run. */
export interface RunnerParts {
  store: Pick<ChatStore, 'readHistory' | 'acquireChats' | 'takeChat' | 'renewChats' | 'releaseChats' | 'onChatChange'>
  changes: RunChanges
  models: ChatModels
  keys: ChatKeys
  hosts: AgentHosts
  episodes: Episodes
  logger: Logger
  /** id of this server process */
  runner: string
  limits: RunnerLimits
  now: () => Date
  /** counts an event; see the metrics of a server */
  onEvent: (event: 'takeover' | 'stale_commit' | 'retry') => void
  /** Returns a number from 0 to 1. */
  random: () => number
  /** Waits, and ends early when the signal aborts. Never rejects. */
  pause: (ms: number, signal: AbortSignal) => Promise<void>
}
