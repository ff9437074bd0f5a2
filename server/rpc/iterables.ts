/**
 * Returns whether a value comes piece by piece, which only a subscription sends: an async iterable (streams are), or an
 * observable.
 */
export function isIterable(value: unknown): value is object {
  if (isAsyncIterable(value)) return true
  return typeof value === 'object' && value !== null && 'subscribe' in value && typeof value.subscribe === 'function'
}

/**
 * Returns whether `for await` takes a value: an `asyncIterator` of null or undefined counts as none, as in the
 * language.
 */
export function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    Symbol.asyncIterator in value &&
    typeof value[Symbol.asyncIterator] === 'function'
  )
}

/**
 * Ends an iterable that has no reader: a stream may hold a file or a socket. Never throws; `onError` is called for
 * every failure, now or later.
 */
export function disposeIterable(value: object, onError: (thrown: unknown) => void): void {
  void (async () => {
    try {
      // A stream that fails without a listener ends the process.
      callIfDefined(value, 'on', 'error', onError)
      for (const end of ['destroy', 'cancel', 'return']) {
        const ended = callIfDefined(value, end)
        if (ended) return void (await ended.result)
      }
    } catch (thrown) {
      onError(thrown)
    }
  })()
}

function callIfDefined(value: object, name: string, ...args: unknown[]): { result: unknown } | undefined {
  const method: unknown = Reflect.get(value, name)
  return typeof method === 'function' ? { result: Reflect.apply(method, value, args) } : undefined
}
