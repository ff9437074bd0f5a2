import type { JsonObject } from '../../../../shared/values/text.js'
import type { HiddenNames } from '../hidden-names.js'
import { sumOfUsage } from '../usage-sums.js'
import type { ChatRound } from './round.js'

/** The response of a client of Chat Completions, over all its rounds. */
export class ChatResponse {
  readonly names: HiddenNames
  /** whether the client did not ask for the usage that the provider streams */
  readonly hidesUsage: boolean
  /** the rounds that have ended */
  readonly rounds: ChatRound[] = []
  /** the bodies of rounds that have ended, of a response that is no stream */
  readonly bodies: JsonObject[] = []
  #usage: JsonObject | undefined
  #id: JsonObject[string] | undefined
  #created: JsonObject[string] | undefined
  #hasRole = false

  constructor(names: HiddenNames, hidesUsage: boolean) {
    this.names = names
    this.hidesUsage = hidesUsage
  }

  /** Records a round that has ended. */
  ended(round: ChatRound, usage: JsonObject | undefined): void {
    this.rounds.push(round)
    if (usage) this.#usage = sumOfUsage(this.#usage, usage)
  }

  /** Returns the usage of a round with that of the rounds before; the same object if there is none. */
  summed(usage: JsonObject): JsonObject {
    return this.#usage ? sumOfUsage(this.#usage, usage) : usage
  }

  /** Gives a chunk or a body the id and the time of the first round. Returns whether something has changed. */
  rewriteHead(json: JsonObject): boolean {
    if (this.rounds.length === 0) {
      this.#id ??= json.id
      this.#created ??= json.created
      return false
    }
    if (this.#id !== undefined) json.id = this.#id
    if (this.#created !== undefined) json.created = this.#created
    return true
  }

  /** Takes the role out of a delta if an earlier round has sent it. Returns whether the delta has changed. */
  leaveRoleOut(delta: Record<string, unknown>): boolean {
    if (delta.role === undefined) return false
    if (this.rounds.length === 0 || !this.#hasRole) {
      this.#hasRole = true
      return false
    }
    delete delta.role
    return true
  }
}
