import { abortable } from '../../../shared/values/abortable.js'

/** Promises that have not settled. */
export class TaskSet {
  readonly #tasks = new Set<Promise<void>>()

  /** Holds a promise until it settles. */
  add(work: Promise<unknown>): void {
    const task = work
      .then(
        () => {},
        () => {}, // its owner has the error
      )
      .finally(() => this.#tasks.delete(task))
    this.#tasks.add(task)
  }

  /** Resolves when the promises of this moment have settled, or after `timeoutMs`. */
  async settled(timeoutMs = Number.POSITIVE_INFINITY): Promise<void> {
    const settled = Promise.all(this.#tasks)
    if (timeoutMs === Number.POSITIVE_INFINITY) return void (await settled)
    const timeout = new AbortController()
    const timer = setTimeout(() => timeout.abort(), timeoutMs)
    await abortable(settled, timeout.signal).catch(() => {})
    clearTimeout(timer)
  }
}
