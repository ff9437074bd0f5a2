import type { JsonObject } from '../../../../shared/values/text.js'
import type { HiddenCall } from '../injection-api.js'
import type { Verdict } from '../round-bytes.js'
import type { Block } from './blocks.js'

/** One round, as far as its response has been read. */
export interface Round {
  blocks: Block[]
  usage: JsonObject
  stopReason: string | undefined
  /** the JSON texts of the results of its hidden calls; undefined before they are known */
  results: string[] | undefined
}

/** Returns a round of which nothing has been read. */
export function newRound(): Round {
  return { blocks: [], usage: {}, stopReason: undefined, results: undefined }
}

/** Returns the hidden calls of a round that are to be run: only a round that ended for the use of tools has any. */
export function callsOf({ blocks, stopReason }: Round): HiddenCall[] {
  return stopReason === 'tool_use' ? blocks.flatMap(({ call }) => call ?? []) : []
}

/** Returns the end of a round: the client goes on unless there are hidden calls alone. */
export function verdictOf(round: Round): Verdict {
  const calls = callsOf(round)
  return { calls, isFinal: calls.length === 0 || round.blocks.some(block => block.isClientCall) }
}
