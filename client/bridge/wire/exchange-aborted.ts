/**
 * The reason of an exchange that is ended from outside. The message is recorded, and shown to the client if no response
 * has begun.
 */
export class ExchangeAborted extends Error {
  /** the side that ended the exchange */
  readonly by: 'client' | 'bridge'

  constructor(by: 'client' | 'bridge', message: string) {
    super(message)
    this.by = by
  }
}
