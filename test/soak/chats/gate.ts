/** The connection of a server to its database, which a test cuts and holds up. */
import type { Store } from '../../../server/store/store.js'

/** A way to a store that is open, held up, or cut for good. */
export class Gate {
  #state: 'open' | 'frozen' | 'cut' = 'open'
  #waiting: (() => void)[] = []

  /** Returns the store as it is behind this gate. Its end is not the store's. */
  guard(store: Store): Store {
    return new Proxy(store, {
      get: (target, name) => {
        const own: unknown = Reflect.get(target, name)
        if (typeof own !== 'function') return own
        // Listeners: a notification that meets a closed gate is lost, as on a connection.
        if (typeof name === 'string' && /^on[A-Z]/.test(name)) {
          return (...args: unknown[]) =>
            own.apply(
              target,
              args.map(argument => this.#listener(argument)),
            )
        }
        return (...args: unknown[]) => this.#pass(() => own.apply(target, args))
      },
    })
  }

  /** Rejects all calls, those under way included; what they have stored stays. */
  cut(): void {
    this.#state = 'cut'
    this.#release()
  }

  /** Holds up calls and responses. */
  freeze(): void {
    if (this.#state === 'open') this.#state = 'frozen'
  }

  /** Lets calls and responses go on. */
  thaw(): void {
    if (this.#state === 'frozen') this.#state = 'open'
    this.#release()
  }

  async #pass<T>(call: () => Promise<T>): Promise<T> {
    await this.#opened()
    const result = await call()
    await this.#opened()
    return result
  }

  async #opened(): Promise<void> {
    while (this.#state === 'frozen') await new Promise<void>(resolve => this.#waiting.push(resolve))
    if (this.#state === 'cut') throw new Error('the database was cut off')
  }

  #listener(argument: unknown): unknown {
    if (typeof argument !== 'function') return argument
    return (...args: unknown[]) => (this.#state === 'open' ? argument(...args) : undefined)
  }

  #release(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}
