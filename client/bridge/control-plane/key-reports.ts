import type { ReportKeyInput } from '../../../shared/contract/provider-configurator.js'
import type { Logger } from '../../../shared/values/log.js'
import { isClosedForGood } from '../wire/rejection.js'
import type { ControlPlane } from './control-plane.js'
import type { Target } from './provider-registry.js'

/** A key that its provider rejects. */
export interface RejectedKey {
  target: Target
  keyId: string
  status: 401 | 403
  model: string
}

/** Takes a rejected key. Returns at once and never throws. */
export type KeyReporter = (rejected: RejectedKey) => void

/**
 * Makes a reporter that tells the control plane of rejected keys, for operators. A report that fails is logged; the key
 * is rejected in the metrics and the log of this bridge all the same.
 */
export function createKeyReporter(client: Pick<ControlPlane, 'providerConfigurator'>, logger: Logger): KeyReporter {
  return ({ target, keyId, status, model }) => {
    const { name: provider, revision } = target.provider
    if (revision === undefined) return
    const report: ReportKeyInput = { provider, keyId, revision, status, ...(model !== '' && { model }) }
    client.providerConfigurator.reportKey.mutate(report).catch((error: unknown) => {
      if (!isClosedForGood(error)) logger.warn({ err: error, provider, keyId }, 'a rejected key could not be reported')
    })
  }
}
