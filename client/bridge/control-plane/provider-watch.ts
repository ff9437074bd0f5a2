import type { Logger } from '../../../shared/values/log.js'
import { isClosedForGood } from '../wire/rejection.js'
import type { ControlPlane } from './control-plane.js'

/**
 * Pause before a new subscription when the control plane has ended one with an error. A lost connection does not end
 * it.
 */
const againAfterMs = 1_000

/**
 * Calls `onChange` whenever the providers may have changed, until the link is closed for good. Returns a function that
 * stops the watch.
 */
export function watchProviders(
  client: Pick<ControlPlane, 'providerConfigurator'>,
  onChange: () => void,
  logger: Logger,
): () => void {
  let stopped = false
  let timer: NodeJS.Timeout | undefined
  let subscription: { unsubscribe(): void } | undefined
  const again = (error?: unknown) => {
    // On a link that is closed for good, no subscription begins any more.
    if (stopped || isClosedForGood(error)) return
    logger.warn({ err: error }, 'changes of providers are not signalled; asking for them again')
    timer = setTimeout(subscribe, againAfterMs)
  }
  const subscribe = () => {
    subscription = client.providerConfigurator.watchProviders.subscribe(undefined, {
      onData: onChange,
      onError: again,
      onComplete: again,
    })
  }
  subscribe()
  return () => {
    stopped = true
    clearTimeout(timer)
    subscription?.unsubscribe()
  }
}
