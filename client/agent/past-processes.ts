import { processLimits } from '../../shared/contract/limits.js'

/** An id that starts nothing any more. */
export type PastProcess = Receipt | Tombstone

/** The rest of a process whose output is not kept. */
export interface Receipt {
  kind: 'receipt'
  scope: string | undefined
  /** of the input that started the process */
  inputHash: string
  exitCode: number | null | undefined
}

/** An id that was cancelled before its start. */
export interface Tombstone {
  kind: 'tombstone'
  /** of the caller that cancelled; undefined binds every scope */
  scope: string | undefined
}

/** The past of an agent, in bounded memory: the oldest ids are forgotten first. */
export class PastProcesses {
  readonly #byId = new Map<string, PastProcess>()

  get(id: string): PastProcess | undefined {
    return this.#byId.get(id)
  }

  add(id: string, past: PastProcess): void {
    this.#byId.set(id, past)
    const [oldest] = this.#byId.keys()
    if (this.#byId.size > processLimits.maxPast && oldest !== undefined) this.#byId.delete(oldest)
  }
}
