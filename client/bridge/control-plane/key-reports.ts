import { recordLimits } from '../../../shared/contract/limits.js'
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

/**
 * Tells the control plane of rejected keys, for operators. A report that fails is logged, and made again when the
 * control plane has given the providers the next time. The key is rejected in this bridge all the same.
 */
export class KeyReports {
  readonly #client: Pick<ControlPlane, 'providerConfigurator'>
  readonly #logger: Logger
  /** by key: the newest report counts */
  readonly #failed = new Map<string, ReportKeyInput>()

  constructor(client: Pick<ControlPlane, 'providerConfigurator'>, logger: Logger) {
    this.#client = client
    this.#logger = logger
  }

  /** Reports a key. Returns at once and never throws. */
  report({ target, keyId, status, model }: RejectedKey): void {
    const { name: provider, revision } = target.provider
    if (revision === undefined) return
    void this.#send({
      provider,
      keyId,
      revision,
      status,
      ...(model !== '' && { model: model.slice(0, recordLimits.maxNameLength) }),
    })
  }

  /** Makes failed reports again. Returns at once and never throws. */
  retry(): void {
    const reports = [...this.#failed.values()]
    this.#failed.clear()
    for (const report of reports) void this.#send(report)
  }

  async #send(report: ReportKeyInput): Promise<void> {
    const { provider, keyId } = report
    try {
      await this.#client.providerConfigurator.reportKey.mutate(report)
    } catch (error) {
      if (isClosedForGood(error)) return
      this.#failed.set(keyId, report)
      this.#logger.warn({ err: error, provider, keyId }, 'a rejected key could not be reported')
    }
  }
}
