import { type Deadline, type Deadlines, now } from '../../shared/rpc/deadlines.js'
import { RpcError } from '../../shared/rpc/errors.js'
import type { CallMessage } from '../../shared/rpc/messages.js'
import type { Invocation } from './invoke.js'
import type { Straggler } from './stragglers.js'
import type { AnyRouter } from './trpc-internals.js'

/** The connection's functions that a call needs. */
interface Owner {
  readonly deadlines: Deadlines
  expire(call: Call, timeoutMs: number): void
}

const lastEventIds = new WeakMap<AbortSignal, string>()

/**
 * Returns the event id behind which the subscription with this signal resumes; undefined for a new subscription. tRPC
 * merges `lastEventId` into an input that is an object; a subscription whose input is a string or an array reads the id
 * here.
 */
export function lastEventIdOf(signal: AbortSignal | undefined): string | undefined {
  return signal && lastEventIds.get(signal)
}

/** One call in flight: its input, its deadline, and its signal, which is made only if a procedure reads the signal. */
export class Call implements Invocation, Deadline {
  readonly id: string | number
  readonly jsonrpc: '2.0' | undefined
  readonly type: CallMessage['method']
  readonly path: string
  readonly batchIndex: number
  /** the one terminal message is sent, or will never be */
  settled = false
  /** the procedure has returned or thrown; of a subscription never set */
  returned = false
  /** set while the procedure runs on after the call was settled */
  straggler: Straggler | undefined
  deadlineAt = Infinity
  previousDeadline: Deadline | undefined
  nextDeadline: Deadline | undefined
  /** on the clock of `now()`; only for an observed connection */
  startedAt = 0
  readonly #params: CallMessage['params']
  readonly #router: AnyRouter
  readonly #owner: Owner
  #timeoutMs = 0
  #controller: AbortController | undefined
  #abortReason: RpcError | undefined
  #onAbort: (() => void) | undefined
  #input: { value: unknown } | undefined

  constructor(message: CallMessage, batchIndex: number, router: AnyRouter, owner: Owner) {
    this.id = message.id
    this.jsonrpc = message.jsonrpc
    this.type = message.method
    this.path = message.params.path
    this.batchIndex = batchIndex
    this.#params = message.params
    this.#router = router
    this.#owner = owner
  }

  /** Aborts with an RpcError on cancel, deadline, lost connection and shutdown. */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController()
      const { lastEventId } = this.#params
      if (lastEventId !== undefined) lastEventIds.set(this.#controller.signal, lastEventId)
      if (this.#abortReason) this.#controller.abort(this.#abortReason)
    }
    return this.#controller.signal
  }

  /** Returns the result of {@link getRawInput}; undefined before the first request. */
  get input(): unknown {
    return this.#input?.value
  }

  get aborted(): boolean {
    return this.#abortReason !== undefined
  }

  abort(reason: RpcError): void {
    if (this.#abortReason) return
    this.#abortReason = reason
    this.#controller?.abort(reason)
    this.#onAbort?.()
  }

  /** Registers one listener that costs no signal. */
  onAbort(listener: () => void): void {
    this.#onAbort = listener
  }

  /**
   * Returns the input for the procedure's parser; a subscription's `lastEventId` is merged into the input, as tRPC
   * documents.
   */
  getRawInput(): Promise<unknown> {
    try {
      // A procedure with several parsers asks several times; decoding takes over the message, so decoding happens once.
      this.#input ??= { value: this.#decodeInput() }
      return Promise.resolve(this.#input.value)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  #decodeInput(): unknown {
    const { input: encoded, lastEventId } = this.#params
    let input: unknown
    try {
      input = this.#router._def._config.transformer.input.deserialize(encoded)
    } catch (cause) {
      throw new RpcError('BAD_REQUEST', 'the input cannot be decoded', { cause })
    }
    if (lastEventId === undefined) return input
    if (input === undefined || input === null) return { lastEventId }
    return typeof input === 'object' && !Array.isArray(input) ? { ...input, lastEventId } : input
  }

  /** @param waitedMs the part of the deadline that has already passed */
  setDeadline(timeoutMs: number, waitedMs: number): void {
    this.#timeoutMs = timeoutMs
    this.deadlineAt = now() + timeoutMs - waitedMs
    this.#owner.deadlines.add(this)
  }

  clearDeadline(): void {
    if (this.deadlineAt !== Infinity) this.#owner.deadlines.delete(this)
  }

  onDeadline(): void {
    this.#owner.expire(this, this.#timeoutMs)
  }
}
