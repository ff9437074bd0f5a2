import { acpError } from '../../../shared/acp/errors.js'
import type { AcpResponse } from '../../../shared/acp/messages.js'
import type { RpcError } from '../../../shared/rpc/errors.js'

/** Receives the outcome of `initialize`, synchronously: later messages of the agent come later. */
export interface InitializeOutcome {
  onResponse(response: AcpResponse): void
  onFailure(error: RpcError<string>): void
}

/** An `initialize` without an outcome yet. */
export class Opening {
  readonly outcome: InitializeOutcome
  readonly #timer: NodeJS.Timeout

  constructor(outcome: InitializeOutcome, timeoutMs: number, onTimeout: (error: RpcError<string>) => void) {
    this.outcome = outcome
    this.#timer = setTimeout(() => {
      const ms = timeoutMs.toLocaleString('en')
      onTimeout(acpError('initialize_timeout', `the agent did not respond to initialize within ${ms} ms`))
    }, timeoutMs).unref()
  }

  stop(): void {
    clearTimeout(this.#timer)
  }
}

/** Returns the agent's response with the id of its connection. */
export function withConnectionId(response: AcpResponse, connectionId: string): AcpResponse {
  const { result } = response
  const isObject = typeof result === 'object' && result !== null
  return isObject ? { ...response, result: { ...result, connectionId } } : response
}
