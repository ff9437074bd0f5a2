import { serializeForMessage } from '../../shared/rpc/json/transformer.js'
import type { Connection, ConnectionState } from './connection.js'
import { failureError, noResponse, notDecodable, notEncodable, remoteError } from './errors.js'
import { clientTransformer } from './transformer.js'
import {
  type AnyRouter,
  observable,
  type TRPCClientError,
  type TRPCLink,
  type TransformerOptions,
} from './trpc-internals.js'

/**
 * Makes a connection a terminating tRPC link, behind any other links: `createTRPCClient<R>({ links: [loggerLink(),
 * duplexLink({ connection })] })`. `context.timeoutMs` is the deadline of a call, `signal` cancels the call; a
 * cancelled subscription completes, as with tRPC's own links.
 * @param options.transformer the router's; absent for a router that has none
 */
export function duplexLink<R extends AnyRouter>(
  options: { connection: Connection } & TransformerOptions<R>,
): TRPCLink<R> {
  const { connection } = options
  const transformer = clientTransformer(options)
  return () =>
    ({ op }) =>
      observable(observer => {
        // An error's type is the router's error shape, which only the caller knows.
        const fail = (error: TRPCClientError<never>): void => observer.error(error as TRPCClientError<R>)
        let input: unknown
        try {
          input = serializeForMessage(transformer, op.input)
        } catch (cause) {
          fail(notEncodable(cause))
          return
        }
        const isSubscription = op.type === 'subscription'
        const timeoutMs = typeof op.context.timeoutMs === 'number' ? op.context.timeoutMs : undefined
        const signal = op.signal ?? undefined
        const unobserve = isSubscription ? observeState(connection, observer.next) : undefined
        const cancel = connection.call(
          { type: op.type, path: op.path, input, timeoutMs, signal },
          {
            onStarted() {
              // tRPC's client takes the first result of any other call for the response.
              if (isSubscription) observer.next({ result: { type: 'started' }, context: op.context })
            },
            onData(data, id) {
              let value: unknown
              try {
                value = transformer.deserialize(data)
              } catch (cause) {
                cancel()
                return fail(notDecodable(cause))
              }
              // tRPC's links, `retryLink` for instance, look for the id of a tracked event here.
              const result = { type: 'data' as const, data: value }
              observer.next({ result: id === undefined ? result : { ...result, id }, context: op.context })
              if (!isSubscription) observer.complete()
            },
            onError(failure) {
              if (isSubscription && signal?.aborted) observer.complete()
              else fail(failureError(failure, transformer))
            },
            onStopped() {
              if (!isSubscription) return fail(noResponse())
              observer.next({ result: { type: 'stopped' }, context: op.context })
              observer.complete()
            },
            decodeError: encoded => remoteError(encoded, transformer),
          },
        )
        return () => {
          unobserve?.()
          cancel()
          // tRPC's own link completes a subscription that is unsubscribed; after another end this does nothing.
          if (isSubscription) observer.complete()
        }
      })
}

type StateResult = { result: { type: 'state'; state: 'connecting' | 'pending'; error: null } }

/** Reports the connection's state to a subscriber in tRPC's words: now, and after each change. */
function observeState(connection: Connection, next: (envelope: StateResult) => void): () => void {
  const report = (state: ConnectionState): void => {
    if (state !== 'closed')
      next({ result: { type: 'state', state: state === 'open' ? 'pending' : 'connecting', error: null } })
  }
  report(connection.state)
  return connection.onStateChange(report)
}
