import type { HostedProcess } from './hosted-process.js'

/** A start under way. Further calls of `start` with the same input wait for it too. */
export class StartAttempt {
  readonly kind = 'attempt'
  readonly scope: string | undefined
  readonly inputHash: string
  /** Settles as the start does. */
  readonly process: Promise<HostedProcess>
  #state: 'starting' | 'cancelled' = 'starting'

  /** @param start starts the process, unless the attempt has been cancelled by then */
  constructor(
    { scope, inputHash }: Pick<StartAttempt, 'scope' | 'inputHash'>,
    start: (attempt: StartAttempt) => Promise<HostedProcess>,
  ) {
    this.scope = scope
    this.inputHash = inputHash
    this.process = start(this)
  }

  get isCancelled(): boolean {
    return this.#state === 'cancelled'
  }

  cancel(): void {
    this.#state = 'cancelled'
  }
}
