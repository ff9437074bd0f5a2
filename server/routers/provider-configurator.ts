import { daemonProcedure, forDaemon, router } from './trpc.js'

/** AI providers and their keys. Responses hold secrets and are never logged. */
export const providerConfiguratorRouter = router({
  getProviders: daemonProcedure.query(forDaemon(({ providerConfigurator }) => providerConfigurator.getProviders())),
  watchProviders: daemonProcedure.subscription(
    forDaemon(({ providerConfigurator }, _input, _daemon, call) => providerConfigurator.watchProviders(call.signal)),
  ),
})
