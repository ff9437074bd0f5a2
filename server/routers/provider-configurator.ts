import { reportKeyInput } from '../../shared/contract/provider-configurator.js'
import { checked, daemonProcedure, forDaemon, router } from './trpc.js'

/** AI providers and their keys. Responses hold secrets and are never logged. */
export const providerConfiguratorRouter = router({
  getProviders: daemonProcedure.query(forDaemon(({ providerConfigurator }) => providerConfigurator.getProviders())),
  reportKey: daemonProcedure
    .input(checked(reportKeyInput))
    .mutation(forDaemon(({ providerConfigurator }, input, daemon) => providerConfigurator.reportKey(input, daemon))),
  watchProviders: daemonProcedure.subscription(
    forDaemon(({ providerConfigurator }, _input, _daemon, call) => providerConfigurator.watchProviders(call.signal)),
  ),
})
