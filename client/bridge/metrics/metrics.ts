/** What a bridge tells of its work to whoever counts. */
import type { ErrorType } from '../../../shared/contract/recorder.js'
import type { Outbox } from '../control-plane/outbox.js'

/** Takes a bridge's observations. Its functions may be called unbound, return at once and never throw. Times are in seconds. */
export interface BridgeMetrics {
  /** An interception was recorded and is under way; what is returned takes its end, once. */
  readonly interceptionStarted: () => (end: InterceptionEnd) => void
  /** From the call to a provider until its status line. */
  readonly firstByte: (seconds: number) => void
  /** What the bridge itself took before it called the provider: the key, the provider, the record. Not the client's time to send its body. */
  readonly overhead: (seconds: number) => void
  /** Reads an outbox whenever the numbers are asked for. */
  readonly watchOutbox: (outbox: Pick<Outbox, 'size' | 'oldestMs' | 'deadLetters'>) => void
}

/** The end of a recorded request, with the labels and the numbers that are counted. */
export interface InterceptionEnd {
  /** its name */
  provider: string
  /** as the client named it */
  model: string
  /** undefined if it was not recognised */
  client: string | undefined
  status: 'completed' | ErrorType
  /** since it was recorded */
  seconds: number
  /** undefined if the provider gave no count */
  tokens: { input: number; output: number; cacheRead: number; cacheWrite: number } | undefined
  /** tools that the model has selected, for the client to run */
  toolCalls: number
}

/** Counts nothing. */
export const noMetrics: BridgeMetrics = {
  interceptionStarted: () => () => {},
  firstByte: () => {},
  overhead: () => {},
  watchOutbox: () => {},
}
